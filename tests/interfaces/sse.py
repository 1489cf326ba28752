"""Reads server-sent events as a client does. Used by the stream tests."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import httpx

TIMEOUT_S = 40


@dataclass
class ServerSent:
    """One event. `id` is "" for an event that has none."""

    name: str
    id: str
    data: Any

    @property
    def position(self) -> int:
        return int(self.id)


class Reader:
    """The events of one open response, comments left out."""

    def __init__(self, response: httpx.Response) -> None:
        self.response = response
        self.comments = 0
        self._lines = response.aiter_lines()

    async def next(self) -> ServerSent | None:
        """The next event; None at the end of the stream."""
        async with asyncio.timeout(TIMEOUT_S):
            return await self._next()

    async def take(self, count: int) -> list[ServerSent]:
        events = [await self.next() for _ in range(count)]
        assert None not in events, f"the stream ended early: {events}"
        return [event for event in events if event is not None]

    async def rest(self) -> list[ServerSent]:
        events = []
        while (event := await self.next()) is not None:
            events.append(event)
        return events

    async def _next(self) -> ServerSent | None:
        fields: dict[str, str] = {}
        async for line in self._lines:
            if line.startswith(":"):
                self.comments += 1
            elif line:
                name, _, value = line.partition(": ")
                fields[name] = value
            elif "event" in fields:
                return ServerSent(fields["event"], fields.get("id", ""), json.loads(fields["data"]))
            else:
                fields = {}
        return None


@asynccontextmanager
async def stream(
    client: httpx.AsyncClient, path: str, *, last_event_id: int | None = None, **params: Any
) -> AsyncIterator[Reader]:
    headers = {"Accept": "text/event-stream"}
    if last_event_id is not None:
        headers["Last-Event-ID"] = str(last_event_id)
    async with client.stream("GET", path, headers=headers, params=params, timeout=TIMEOUT_S) as response:
        assert response.status_code == 200, await response.aread()
        yield Reader(response)
