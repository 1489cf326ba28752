"""Answers of any length: JSON lines that are sent as they are read.

Called by exports and bundles. Its one rule: what can be refused is refused before the first line; a fault
after it breaks the connection, so that no half answer looks like a whole one.
"""

from __future__ import annotations

from collections.abc import AsyncIterator

from litestar.types import Receive, Scope, Send

from interfaces.http.answers import NO_SNIFF, NO_STORE

MEDIA_TYPE = "application/x-ndjson"
CHUNK_BYTES = 64 * 1024


class Lines:
    """The response. name: of the file that a browser makes of it."""

    def __init__(self, lines: AsyncIterator[bytes], name: str) -> None:
        self._lines = lines
        self._name = name

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        headers = [
            NO_SNIFF,
            NO_STORE,
            (b"content-type", MEDIA_TYPE.encode()),
            (b"content-disposition", f'attachment; filename="{self._name}"'.encode()),
        ]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        waiting = bytearray()
        async for line in self._lines:
            waiting += line
            if len(waiting) >= CHUNK_BYTES:
                await send({"type": "http.response.body", "body": bytes(waiting), "more_body": True})
                waiting.clear()
        await send({"type": "http.response.body", "body": bytes(waiting), "more_body": False})
