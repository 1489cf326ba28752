"""Answers as bytes: what a handler returns goes to the server as it is, past Litestar's serialization.

Called by every route. Its one rule: headers are written by us alone, so their values are plain ASCII.
"""

from __future__ import annotations

from typing import Any

import msgspec
from litestar.types import Receive, Scope, Send

from application.commands import Outcome

JSON = b"application/json"
NO_SNIFF = (b"x-content-type-options", b"nosniff")
NO_STORE = (b"cache-control", b"no-store")
encoder = msgspec.json.Encoder()


class Answer:
    """One whole HTTP response, an ASGI application by itself."""

    __slots__ = ("body", "headers", "status")

    def __init__(
        self, status: int, body: bytes, headers: dict[str, str] | None = None, *, media_type: bytes = JSON
    ) -> None:
        self.status = status
        self.body = body
        self.headers = [NO_SNIFF, NO_STORE]
        if status not in (204, 304):
            self.headers.append((b"content-length", b"%d" % len(body)))
        if body:
            self.headers.append((b"content-type", media_type))
        for name, value in (headers or {}).items():
            self.headers.append((name.lower().encode("latin-1"), value.encode("latin-1", "replace")))

    def with_body(self, body: bytes) -> Answer:
        """The same status and headers, another body."""
        other = Answer(self.status, body)
        replaced = (b"content-length", b"content-type")
        other.headers += [
            pair for pair in self.headers if pair[0] not in replaced and pair not in other.headers
        ]
        return other

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": self.status, "headers": self.headers})
        await send({"type": "http.response.body", "body": self.body, "more_body": False})


class Accepted(msgspec.Struct, frozen=True, omit_defaults=True):
    """What a command did: the entity, its version, and the position that has it (for `?after=`)."""

    id: str
    version: int
    position: int
    status: str | None = None


def json_answer(value: Any, status: int = 200, headers: dict[str, str] | None = None) -> Answer:
    return Answer(status, encoder.encode(value), headers)


def etag(version: int) -> str:
    """The strong entity tag of a version: `"v7"`."""
    return f'"v{version}"'


def accepted(
    outcome: Outcome, status: int, headers: dict[str, str], *, entity_id: str, execution_status: str | None
) -> Answer:
    """A command's answer; the same for a replay, but for the header that says so."""
    headers["ETag"] = etag(outcome.version)
    headers["Kasal-Position"] = str(outcome.position)
    if outcome.is_replay:
        headers["Idempotency-Replayed"] = "true"
    body = Accepted(entity_id, outcome.version, outcome.position, execution_status)
    return Answer(status, encoder.encode(body), headers)
