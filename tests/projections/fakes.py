"""A feed in memory for projectors under test: it can be slow, repeat itself, lose events and break.

Used by the tests of the process loop.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence

from domain.message import Recorded
from tests.projections.histories import History


class QuietFeed:
    """Says nothing at all, as a NATS that is away."""

    async def follow(
        self, after_position: int, *, tags: Sequence[str] = ()
    ) -> AsyncIterator[Sequence[Recorded]]:
        await asyncio.Event().wait()
        yield ()


class BrokenFeed:
    """Raises whenever it is followed."""

    async def follow(
        self, after_position: int, *, tags: Sequence[str] = ()
    ) -> AsyncIterator[Sequence[Recorded]]:
        raise ConnectionError("no servers available")
        yield ()


class HistoryFeed:
    """Follows a history as it grows, in batches of at most `limit`; `lost` positions are never told."""

    def __init__(self, history: History, *, limit: int = 100, lost: Sequence[int] = ()) -> None:
        self._history = history
        self._limit = limit
        self._lost = frozenset(lost)
        self._grown = asyncio.Event()

    def tell(self) -> None:
        """The history has grown."""
        self._grown.set()

    async def follow(
        self, after_position: int, *, tags: Sequence[str] = ()
    ) -> AsyncIterator[Sequence[Recorded]]:
        while True:
            self._grown.clear()
            page = self._history.events[after_position : after_position + self._limit]
            if page:
                after_position = page[-1].position
                told = [recorded for recorded in page if recorded.position not in self._lost]
                if told:
                    yield told
            else:
                await self._grown.wait()
