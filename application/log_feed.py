"""The log itself as a feed, for whoever runs in a process that has it: no copy has to be waited for.

Used by `kasal up`, where dispatcher and projector live beside the appender; separate processes follow the
feed on NATS. Its one rule: it yields what the log holds, in order, and nothing twice.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import suppress

from application.ports import EventLog
from domain.message import Recorded

BATCH = 500
IDLE_S = 1.0


class LogFeed:
    """`EventFeed.follow` over a log.

    gather_s  a batch comes no sooner than this after the one before: who pays by the batch and is in no
              hurry gets more events in it; where that changes, a function that tells it before each batch
    hurry     while it is set, somebody waits for what is done with the events, and nothing is gathered
    """

    def __init__(
        self,
        log: EventLog,
        gather_s: float | Callable[[], float] = 0,
        hurry: asyncio.Event | None = None,
    ) -> None:
        self._log = log
        self._gather_s = gather_s
        self._hurry = hurry or asyncio.Event()

    async def follow(
        self, after_position: int, *, tags: Sequence[str] = ()
    ) -> AsyncIterator[Sequence[Recorded]]:
        """As `EventFeed.follow`. Raises `Unavailable` when the log can not be read."""
        wanted, loop = frozenset(tags), asyncio.get_running_loop()
        at = after_position
        while True:
            await self._log.wait_beyond(at, IDLE_S)
            began = loop.time()
            events = await self._log.read_all(at, BATCH)
            at = events[-1].position if events else at
            yield [event for event in events if event.tag in wanted] if wanted else events
            gather_s = self._gather_s() if callable(self._gather_s) else self._gather_s
            if gather_s and len(events) < BATCH:
                with suppress(TimeoutError):
                    async with asyncio.timeout_at(began + gather_s):
                        await self._hurry.wait()
