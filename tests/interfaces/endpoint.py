"""An endpoint that webhooks are sent to: a real HTTP server that remembers what came and answers as told.

Used by the tests of webhooks. Its one rule: it speaks HTTP by hand, so that nothing of ours checks itself.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from typing import Any

from standardwebhooks import Webhook

from tests.waiting import eventually

TIMEOUT_S = 60


@dataclass
class Received:
    """One request. headers: names in lower case."""

    path: str
    headers: dict[str, str]
    body: bytes

    @property
    def event(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self.body)
        return found

    @property
    def position(self) -> int:
        return int(self.event["sequence"])

    @property
    def name(self) -> str:
        return str(self.event["type"]).removeprefix("io.kasal.")

    def verify(self, secret: str) -> None:
        """As a receiver does, with the library of Standard Webhooks. Raises for a wrong signature."""
        Webhook(secret).verify(self.body, self.headers)


Reply = tuple[int, dict[str, str]]


@dataclass
class Endpoint:
    """answer: told each request; gives status and headers. gate: closed, nothing is answered."""

    port: int = 0
    received: list[Received] = field(default_factory=list)
    answer: Callable[[Received], Reply] = lambda _: (200, {})
    gate: asyncio.Event = field(default_factory=asyncio.Event)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/hook"

    @property
    def taken(self) -> list[Received]:
        """Those that were answered with 200, in order."""
        return [each for each in self.received if self.answer(each)[0] == 200]

    def positions(self) -> list[int]:
        return [each.position for each in self.received]

    async def until(self, count: int) -> list[Received]:
        """So many requests, or more."""
        await eventually(lambda: len(self.received) >= count, TIMEOUT_S)
        return self.received

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(OSError, asyncio.IncompleteReadError):
            while line := await reader.readline():
                await self._one(line.split()[1].decode(), reader, writer)
        writer.close()

    async def _one(self, path: str, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        headers: dict[str, str] = {}
        while (line := (await reader.readline()).decode().strip()) != "":
            name, _, value = line.partition(":")
            headers[name.lower()] = value.strip()
        received = Received(path, headers, await reader.readexactly(int(headers["content-length"])))
        self.received.append(received)
        await self.gate.wait()
        status, fields = self.answer(received)
        head = f"HTTP/1.1 {status} X\r\nContent-Length: 0\r\n"
        head += "".join(f"{name}: {value}\r\n" for name, value in fields.items())
        writer.write(head.encode() + b"\r\n")
        await writer.drain()


@asynccontextmanager
async def listening() -> AsyncIterator[Endpoint]:
    endpoint = Endpoint()
    endpoint.gate.set()
    server = await asyncio.start_server(endpoint.serve, "127.0.0.1", 0)
    endpoint.port = server.sockets[0].getsockname()[1]
    yield endpoint
    endpoint.gate.set()
    server.close()
