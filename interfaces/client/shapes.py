"""What the client gives: answers as structs that know the fields they know, and leave the rest in `raw`.

Its one rule: a field that a newer API adds breaks no client.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any

import msgspec

TERMINAL = frozenset({"COMPLETED", "FAILED", "CANCELLED", "TIMED_OUT"})
TYPE_PREFIX = "io.kasal."


class Accepted(msgspec.Struct, frozen=True):
    """What a command did. position: give it to a query as `after`, and it has the command's effect."""

    id: str
    version: int
    position: int
    status: str | None = None
    secret: str | None = None


class Output(msgspec.Struct, frozen=True):
    """What an execution produced: text, and an instance of the schema where one was asked for."""

    text: str = ""
    structured: Any = None


class Failure(msgspec.Struct, frozen=True):
    """Why it failed."""

    code: str = ""
    message: str = ""


class Execution(msgspec.Struct, frozen=True):
    """One execution as it is now; everything else that the API tells lies in `raw`."""

    id: str
    name: str
    status: str
    version: int
    position: int
    workflow_id: str | None = None
    output: Output | None = None
    failure: Failure | None = None
    raw: dict[str, Any] = {}

    @property
    def has_ended(self) -> bool:
        return self.status in TERMINAL


class Event(msgspec.Struct, frozen=True):
    """An event of a stream. position: the place to go on from. type: without the prefix of CloudEvents."""

    position: int
    type: str
    subject: str
    at: datetime
    data: dict[str, Any]
    cloudevent: dict[str, Any]


class Token(msgspec.Struct, frozen=True):
    """A piece of a model's answer while it is made."""

    call: str
    text: str


class Page(msgspec.Struct, frozen=True):
    """One page of a list."""

    items: list[dict[str, Any]]
    next_cursor: str | None = None


def accepted(body: bytes) -> Accepted:
    return msgspec.json.decode(body, type=Accepted)


def execution(body: bytes) -> Execution:
    raw: dict[str, Any] = msgspec.json.decode(body)
    return msgspec.structs.replace(msgspec.convert(raw, type=Execution), raw=raw)


def page(body: bytes) -> Page:
    return msgspec.json.decode(body, type=Page)


def document(body: bytes) -> dict[str, Any]:
    found: dict[str, Any] = msgspec.json.decode(body) if body else {}
    return found


def event(text: str) -> Event:
    """Of the data of a server-sent event."""
    found = msgspec.json.decode(text, type=dict[str, Any])
    return Event(
        position=int(found["sequence"]),
        type=str(found["type"]).removeprefix(TYPE_PREFIX),
        subject=str(found.get("subject", "")),
        at=datetime.fromisoformat(found["time"]),
        data=found["data"],
        cloudevent=found,
    )
