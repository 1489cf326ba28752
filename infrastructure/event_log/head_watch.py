"""Who waits for the log to grow: wakes them at once when this process hears of it, and polls behind that.

Called by the three adapters. Its one rule: a missed wake-up costs one poll, never an event. One poll serves
all who wait, and nobody polls while nobody waits.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress

from domain.errors import LogUnavailable


class HeadWatch:
    """Knows the highest position that this process has heard of."""

    def __init__(self, read_head: Callable[[], Awaitable[int]], poll_every_s: float) -> None:
        self._read_head = read_head
        self._poll_every_s = poll_every_s
        self._head = 0
        self._waiting: set[asyncio.Future[None]] = set()
        self._poll: asyncio.Task[None] | None = None
        self._is_closed = False

    def saw(self, position: int) -> None:
        """The log holds `position`: wake everyone who waits for more than they have."""
        if position > self._head:
            self._head = position
            self._wake_all()

    async def wait_beyond(self, position: int, timeout_s: float) -> None:
        """Return once the head is beyond `position`, after `timeout_s`, or when the log is closed."""
        if self._head > position:
            return
        loop = asyncio.get_running_loop()
        deadline = loop.time() + timeout_s
        while self._head <= position and not self._is_closed and (left_s := deadline - loop.time()) > 0:
            await self._grown(left_s)

    async def close(self) -> None:
        """Let everyone go."""
        self._is_closed = True
        self._wake_all()
        if self._poll is not None:
            self._poll.cancel()
            await asyncio.wait([self._poll])

    def _wake_all(self) -> None:
        for waiter in self._waiting:
            _wake(waiter)

    async def _grown(self, within_s: float) -> None:
        """(`asyncio.timeout` would cost 5 us, for everyone who follows the log and each of its commits.)"""
        loop = asyncio.get_running_loop()
        waiter: asyncio.Future[None] = loop.create_future()
        alarm = loop.call_later(within_s, _wake, waiter)
        self._waiting.add(waiter)
        if self._poll is None or self._poll.done():
            self._poll = asyncio.create_task(self._poll_while_someone_waits())
        try:
            await waiter
        finally:
            alarm.cancel()
            self._waiting.discard(waiter)

    async def _poll_while_someone_waits(self) -> None:
        while self._waiting:
            with suppress(LogUnavailable):
                self.saw(await self._read_head())
            await asyncio.sleep(self._poll_every_s)


def _wake(waiter: asyncio.Future[None]) -> None:
    if not waiter.done():
        waiter.set_result(None)
