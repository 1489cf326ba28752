"""http_post: send JSON to an API of an allowed host, over https.

Its one rule: what is sent once is not sent again blindly. The request carries an Idempotency-Key that stays
the same, and an answer that is lost on its way is an unknown outcome: the server may have acted.
"""

from __future__ import annotations

import json
import ssl
import time

import httpcore

from infrastructure.tools.http_get import HttpGet, Way, decoded
from infrastructure.tools.spec import Arguments, OutcomeUnknown, ToolContext, ToolError, ToolSpec
from infrastructure.tools.urls import Target, target_of

MAX_BYTES = 256 * 1024
NOT_SENT = (httpcore.ConnectError, httpcore.ConnectTimeout)
"""Before a connection stands, nothing has reached the server."""

LOST = (httpcore.TimeoutException, httpcore.NetworkError, httpcore.ProtocolError, ssl.SSLError)


class HttpPost(HttpGet):
    """The tool; see `HttpGet` for its ways out into the world."""

    def __call__(self, arguments: Arguments, context: ToolContext) -> str:
        target = target_of(str(arguments["url"]), context.settings.http_post_allow)
        body = json.dumps(arguments["json"], ensure_ascii=False).encode()
        if len(body) > MAX_BYTES:
            raise ToolError(f"http_post: json: {len(body)} bytes; expected at most {MAX_BYTES}")
        headers: dict[bytes | str, bytes | str] = {
            "Host": target.authority,
            "User-Agent": "kasal",
            "Accept-Encoding": "identity",
            "Content-Type": "application/json",
            "Content-Length": str(len(body)),
            "Idempotency-Key": context.idempotency_key,
        }
        way = Way(self._checked_address(target), time.monotonic() + self._timeout_s)
        tls = self._tls or ssl.create_default_context()
        pool = httpcore.ConnectionPool(ssl_context=tls, network_backend=way, retries=0)
        try:
            with pool, pool.stream("POST", target.url, headers=headers, content=body) as response:
                return answer_of(target, response)
        except NOT_SENT as error:
            raise ToolError(f"http_post: {target.authority} can not be reached: {error}") from error
        except LOST as error:
            raise OutcomeUnknown(f"http_post: the answer of {target.authority} was lost") from error


def answer_of(target: Target, response: httpcore.Response) -> str:
    """Status and text, whatever the status is: the agent has to know what became of what it sent."""
    headers = {name.lower(): value.decode("latin-1") for name, value in response.headers}
    body = bytearray()
    for piece in response.iter_stream():
        body += piece
        if len(body) > MAX_BYTES:
            break
    text = decoded(bytes(body[:MAX_BYTES]), headers.get(b"content-type", "text/plain"))
    if 200 <= response.status < 300:
        return text or f"{response.status}, without a body"
    raise ToolError(f"http_post: {target.url} answered {response.status}: {text[:1_000]}")


TOOL = ToolSpec(
    name="http_post",
    description="Send a JSON document to an API over https, at an allowed public host; answers its text.",
    parameters={
        "type": "object",
        "properties": {
            "url": {"type": "string", "minLength": 1, "maxLength": 2_000, "format": "uri"},
            "json": {"type": "object", "description": "the document to send"},
        },
        "required": ["url", "json"],
        "additionalProperties": False,
    },
    run=HttpPost(),
    idempotent=False,
)
