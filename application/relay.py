"""Relay: copies the event log to the feed, in commit order, as fenced pages.

Called by `kasal relay` and `kasal up`. Safe to run several times over: the feed refuses a page that does not
follow its last event, so the feed itself is the checkpoint. A feed that lost its tail is filled up, one that
was lost is made anew; one that does not fit the log stops the relay.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from contextlib import suppress

import structlog

from application.ports import EventFeed, EventLog, FeedMoved
from domain.errors import KasalError
from domain.message import Recorded

log = structlog.get_logger()

IDLE_S = 2.0
"""So often a relay with nothing to do looks whether the feed still ends where the log does."""

BACK_OFF_S = (0.1, 2.0)

STAND_BACK_S = 0.05
"""What a relay that was outrun leaves to the other one before it looks again. Only saves work."""


class FeedOutOfStep(KasalError):
    """The feed and the log do not fit together; only a person can tell which of them is right."""


async def relay(event_log: EventLog, feed: EventFeed, *, page: int = 500) -> None:
    """Copy for ever, whatever is away meanwhile. On cancellation the page in hand is finished.

    Raises `FeedOutOfStep`: nothing was written, and nothing will be until the feed or the log is replaced.
    """
    copier = Copier(event_log, feed, page)
    pause_s = BACK_OFF_S[0]
    while True:
        started = time.monotonic()
        try:
            await copier.run()
        except FeedMoved as moved:
            log.debug("feed moved", reason=str(moved))
            await asyncio.sleep(STAND_BACK_S)
        except FeedOutOfStep:
            raise
        except Exception as error:
            is_expected = isinstance(error, KasalError | OSError | TimeoutError)
            log.warning("relay waits", error=str(error), exc_info=not is_expected)
            lasted_s = time.monotonic() - started
            pause_s = BACK_OFF_S[0] if lasted_s > 10 else min(2 * pause_s, BACK_OFF_S[1])
            await asyncio.sleep(pause_s)


class Copier:
    """One relay's pass over the log: from where the feed ends until something is in the way."""

    def __init__(self, event_log: EventLog, feed: EventFeed, page: int) -> None:
        self._log = event_log
        self._feed = feed
        self._page = page
        self._is_same_history = False

    async def run(self) -> None:
        """Never returns. Raises `FeedMoved`, `FeedOutOfStep`, or what log and feed raise."""
        at = await self._feed_position()
        while True:
            await self._log.wait_beyond(at, IDLE_S)
            if page := await self._log.read_all(at, self._page):
                await self._publish(page, at)
                at = page[-1].position
            else:
                at = await self._feed_position()

    async def _publish(self, page: Sequence[Recorded], at: int) -> None:
        if page[0].position != at + 1:
            raise FeedOutOfStep(
                f"the log begins at {page[0].position}, but the feed ends at {at}: "
                "delete the feed, and it is made anew"
            )
        publishing = asyncio.ensure_future(self._feed.publish(page))
        try:
            await asyncio.shield(publishing)
        except asyncio.CancelledError:
            with suppress(FeedMoved, KasalError):
                await publishing
            raise

    async def _feed_position(self) -> int:
        """Where the feed ends, checked against the log; a lost feed is made anew."""
        last = await self._feed.last_position()
        if last is None:
            return await self._make_feed()
        head = await self._log.head()
        if last > head:
            raise FeedOutOfStep(
                f"the feed ends at {last}, but the log at {head}: is the log a restored backup? "
                "Restore the newer one, or delete the feed, and it is made anew"
            )
        await self._check_history(last)
        return last

    async def _make_feed(self) -> int:
        """The feed begins where the log does."""
        first = await self._log.read_all(0, 1)
        position = first[0].position if first else 1
        log.info("making the feed", first_position=position)
        await self._feed.create(position)
        return position - 1

    async def _check_history(self, last: int) -> None:
        """Once: the feed's last event is the log's event at that position."""
        if self._is_same_history or last == 0:
            return
        ours = await self._log.read_all(last - 1, 1)
        theirs = await self._last_event(last)
        if not ours or ours[0].position != last or theirs is None:
            return
        if theirs.metadata.event_id != ours[0].metadata.event_id:
            raise FeedOutOfStep(
                f"position {last} is another event in the feed than in the log: "
                "they tell different histories; delete the feed, and it is made anew"
            )
        self._is_same_history = True

    async def _last_event(self, last: int) -> Recorded | None:
        """None when the feed is empty at its end, or away just now."""
        async for batch in self._feed.follow(last - 1):
            return batch[0] if batch else None
        return None
