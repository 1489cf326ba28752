"""Timers in memory: the fake for unit tests, and the contract at its shortest."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime

from application.timers import Timer

RING_AGAIN_S = 30.0


class MemoryTimers:
    """`Timers` on a dict. `lose` does what the loss of its store would do."""

    def __init__(self) -> None:
        self.held: dict[tuple[str, str], Timer] = {}
        self._ringing: dict[tuple[str, str], float] = {}
        self._incarnation = 1
        self._changed = asyncio.Event()

    async def set(self, timer: Timer) -> None:
        self.held[timer.kind, timer.key] = timer
        self._ringing.pop((timer.kind, timer.key), None)
        self._changed.set()

    async def cancel(self, kind: str, key: str) -> None:
        self.held.pop((kind, key), None)

    async def incarnation(self) -> str:
        return str(self._incarnation)

    async def take(self, timeout_s: float) -> MemoryDue | None:
        loop = asyncio.get_running_loop()
        deadline = loop.time() + timeout_s
        while True:
            self._changed.clear()
            now = datetime.now(UTC)
            for name, timer in self.held.items():
                if timer.due <= now and self._ringing.get(name, 0) <= loop.time():
                    self._ringing[name] = loop.time() + RING_AGAIN_S
                    return MemoryDue(self, timer)
            if (left_s := deadline - loop.time()) <= 0:
                return None
            await self._wait(min(left_s, self._until_due(now)))

    async def lose(self) -> None:
        """There are no timers, and the store is another one than before."""
        self.held.clear()
        self._incarnation += 1

    def _until_due(self, now: datetime) -> float:
        coming = [(timer.due - now).total_seconds() for timer in self.held.values() if timer.due > now]
        return min(coming, default=RING_AGAIN_S)

    async def _wait(self, timeout_s: float) -> None:
        try:
            async with asyncio.timeout(timeout_s):
                await self._changed.wait()
        except TimeoutError:
            return


class MemoryDue:
    """`Due` of a timer that is held until it is done."""

    def __init__(self, timers: MemoryTimers, timer: Timer) -> None:
        self._timers = timers
        self._timer = timer

    @property
    def timer(self) -> Timer:
        return self._timer

    async def done(self) -> None:
        name = (self._timer.kind, self._timer.key)
        if self._timers.held.get(name) is self._timer:
            del self._timers.held[name]
