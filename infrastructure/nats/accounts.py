"""Who may do what on our nats-server: one account of ours, one of readers that can change nothing.

Called by `server`; `nats-server.conf` has the same for docker-compose. Its one rule: readers live in an
account of their own, into which events flow and out of which only questions for stored events go. Permissions
within one account would not do: whoever may make a consumer, or name a subject for an answer, can have the
server itself write into our subjects.
"""

from __future__ import annotations

import json

READER = "reader"
READER_URL = "nats-reader.url"
"""The file in the data folder that tells the reader's URL."""

STORED_EVENTS = "$JS.API.DIRECT.GET.KASAL_EVENTS"
"""Where a reader asks for stored events, by sequence; many at once with `batch`."""

ACCOUNTS = """accounts {{
  KASAL {{
    jetstream: enabled
    users: [ {{ user: {user}, password: {password} }} ]
    exports: [
      {{ stream: "kasal.events.>", accounts: [READERS] }}
      {{ service: "{stored}", response: stream, accounts: [READERS] }}
    ]
  }}
  READERS {{
    users: [ {{
      user: {reader}
      password: {reader_password}
      permissions: {{
        publish: {{ allow: ["{stored}"] }}
        subscribe: {{ allow: ["kasal.events.>", "_INBOX.>"] }}
      }}
    }} ]
    imports: [
      {{ stream: {{ account: KASAL, subject: "kasal.events.>" }} }}
      {{ service: {{ account: KASAL, subject: "{stored}" }} }}
    ]
  }}
}}"""


def accounts_of(user: str, password: str, reader_password: str) -> str:
    """The part of a server's configuration."""
    return ACCOUNTS.format(
        user=json.dumps(user),
        password=json.dumps(password),
        reader=json.dumps(READER),
        reader_password=json.dumps(reader_password),
        stored=STORED_EVENTS,
    )
