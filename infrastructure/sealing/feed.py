"""The feed as those see it who may read contents: its sealed events are opened on the way.

Made by the composition root around the feed of JetStream, whose messages are what the log stores.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence

from application.live_events import Feed
from domain.message import Recorded
from infrastructure.sealing.log import SealedEventLog


class OpenedFeed:
    """`EventFeed.follow`."""

    def __init__(self, feed: Feed, log: SealedEventLog) -> None:
        self._feed = feed
        self._log = log

    async def follow(
        self, after_position: int, *, tags: Sequence[str] = ()
    ) -> AsyncIterator[Sequence[Recorded]]:
        """As `EventFeed.follow`. Raises `Unavailable` also when the keys can not be read."""
        async for batch in self._feed.follow(after_position, tags=tags):
            yield await self._log.opened(batch)
