"""Large texts of the journal, whole: what an event names by its digest.

Called by whoever has read a history or a timeline. Its one rule: a text is sent part by part, so that no
request holds more than one of them in memory.
"""

from __future__ import annotations

from collections.abc import AsyncIterator

import msgspec
from litestar import get
from litestar.params import FromPath
from litestar.types import Receive, Scope, Send

from application.contents import Holding
from interfaces.http.answers import NO_SNIFF, Answer
from interfaces.http.headers import is_unchanged
from interfaces.http.operation import operation
from interfaces.http.queries import read_query
from interfaces.http.request import ApiRequest

MEDIA_TYPE = "text/plain; charset=utf-8"
REVALIDATE = (b"cache-control", b"private, no-cache")
"""The text of a digest never changes, but it can be erased: a cache asks, and is answered 304."""


class NoQuery(msgspec.Struct, frozen=True):
    """This route takes no parameters."""


class TextStream:
    """The response: a stored text, part by part."""

    def __init__(self, holding: Holding, first: bytes, rest: AsyncIterator[bytes]) -> None:
        self._holding = holding
        self._first = first
        self._rest = rest

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        headers = [
            NO_SNIFF,
            REVALIDATE,
            (b"content-type", MEDIA_TYPE.encode()),
            (b"content-length", b"%d" % self._holding.total_bytes),
            (b"etag", tag_of(self._holding.digest).encode()),
        ]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": self._first, "more_body": True})
        async for part in self._rest:
            await send({"type": "http.response.body", "body": part, "more_body": True})
        await send({"type": "http.response.body", "body": b"", "more_body": False})


def tag_of(digest: str) -> str:
    """The strong entity tag of a text: its digest."""
    return f'"{digest}"'


@get(
    "/v1/contents/{digest:str}",
    opt=operation(
        "get_content",
        "A large text of the journal, whole",
        tag="Executions",
        query=NoQuery,
        answer={200: str, 304: None},
        media_types=(MEDIA_TYPE,),
        problems=("malformed", "not_found", "log_unavailable"),
        headers=("If-None-Match",),
        gives=("ETag",),
    ),
)
async def detail(request: ApiRequest, digest: FromPath[str]) -> Answer | TextStream:
    """What a model or tool was asked or answered (text, or JSON as text), by its SHA-256 in hex: the `digest`
    of an event whose `is_stored` is true, or of a long output."""
    read_query(request, NoQuery)
    contents = request.parts.contents
    holding = await contents.find(request.tenant, digest)
    if is_unchanged(request.header("if-none-match"), tag_of(digest)):
        return Answer(304, b"", {"ETag": tag_of(digest)})
    parts = contents.stream(holding)
    return TextStream(holding, await anext(parts), parts)
