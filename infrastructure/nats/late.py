"""A feed over a connection that may still be on its way: the API starts and takes commands without NATS.

Called by the composition root. Its one rule: until the server was reached for the first time, every call says
`Unavailable` at once; from then on the feed itself is asked.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager

from application.ports import EventFeed
from domain.errors import Unavailable
from domain.message import Recorded
from infrastructure.nats.connection import Connection
from infrastructure.nats.signals import listening


class LateFeed:
    """`EventFeed`. connecting: ends with the connection."""

    def __init__(
        self, connecting: asyncio.Future[Connection], feed: Callable[[Connection], EventFeed]
    ) -> None:
        self._connecting = connecting
        self._make = feed
        self._feed: EventFeed | None = None

    async def last_position(self) -> int | None:
        return await self._reached().last_position()

    async def create(self, first_position: int) -> None:
        await self._reached().create(first_position)

    async def publish(self, page: Sequence[Recorded]) -> None:
        await self._reached().publish(page)

    async def follow(
        self, after_position: int, *, tags: Sequence[str] = ()
    ) -> AsyncIterator[Sequence[Recorded]]:
        async for batch in self._reached().follow(after_position, tags=tags):
            yield batch

    def _reached(self) -> EventFeed:
        if not self._connecting.done():
            raise Unavailable("NATS was not reached yet")
        if self._feed is None:
            self._feed = self._make(self._connecting.result())
        return self._feed


@asynccontextmanager
async def listening_once_there(
    connecting: asyncio.Future[Connection], subject: str
) -> AsyncIterator[AsyncIterator[bytes]]:
    """As `signals.listening`. Raises `Unavailable` while NATS was not reached yet."""
    if not connecting.done():
        raise Unavailable("NATS was not reached yet")
    async with listening(connecting.result(), subject) as pieces:
        yield pieces
