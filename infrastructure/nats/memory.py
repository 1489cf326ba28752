"""Feed and work queue in memory: the fakes for unit tests, and the contracts at their shortest.

Called by tests and benchmarks. Its one rule: everything happens between two awaits, so each call is atomic.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Sequence

import msgspec

from application.ports import FeedMoved, FeedTrimmed, Work
from domain.message import Recorded
from infrastructure.nats.precedence import Lane, lanes

BATCH = 500
HEARTBEAT_S = 1.0


class MemoryFeed:
    """`EventFeed` on a list. `lose` and `lose_tail` do what a crash of its store would do,
    `let_go` what the time does."""

    def __init__(self) -> None:
        self._first: int | None = None
        self._events: list[Recorded] = []
        self._moved = asyncio.Condition()

    async def last_position(self) -> int | None:
        return None if self._first is None else self._first + len(self._events) - 1

    async def create(self, first_position: int) -> None:
        if self._first is None:
            self._first = first_position

    async def publish(self, page: Sequence[Recorded]) -> None:
        if not page:
            return
        last = await self.last_position()
        if last is None or page[0].position != last + 1:
            raise FeedMoved(f"wrong last position: {last}")
        self._events.extend(page)
        async with self._moved:
            self._moved.notify_all()

    async def follow(
        self, after_position: int, *, tags: Sequence[str] = ()
    ) -> AsyncIterator[Sequence[Recorded]]:
        at = after_position
        while True:
            if tags and self._first is not None and self._first > at + 1:
                raise FeedTrimmed(f"the feed begins at position {self._first}, not at {at + 1} any more")
            start = max(0, at + 1 - (self._first or 1))
            page = self._events[start : start + BATCH]
            if page:
                at = page[-1].position
            batch = [event for event in page if not tags or event.tag in tags]
            if batch or not page:
                yield batch
            if not page:
                await self._wait()

    async def lose(self) -> None:
        """The feed does not exist any more."""
        self._first, self._events = None, []

    async def lose_tail(self, count: int) -> None:
        """The last events are gone."""
        del self._events[len(self._events) - count :]

    def let_go(self) -> None:
        """Every event is too old to be kept."""
        assert self._first is not None  # noqa: S101 - of a feed that was made
        self._first += len(self._events)
        self._events = []

    async def _wait(self) -> None:
        async with self._moved:
            try:
                async with asyncio.timeout(HEARTBEAT_S):
                    await self._moved.wait()
            except TimeoutError:
                return


class Held(msgspec.Struct):
    """Work in the queue: free from `free_at` on (the end of a lease, or of a delay)."""

    work: Work
    free_at: float = 0
    deliveries: int = 0


class MemoryWorkQueue:
    """`WorkQueue` on a dict. `lose` does what the loss of its store would do."""

    def __init__(self, *, lease_s: float = 30) -> None:
        self.lease_s = lease_s
        self.held: dict[tuple[str, str, str, int], Held] = {}
        self._incarnation = 1
        self._turn = 0
        self._changed = asyncio.Event()

    async def enqueue(self, work: Work) -> None:
        key = (work.queue, work.execution_id, work.step, work.turn)
        if key not in self.held:
            self.held[key] = Held(work)
            self.ring()

    async def empty(self) -> None:
        self.held.clear()

    async def incarnation(self) -> str:
        return str(self._incarnation)

    async def take(self, queues: Sequence[str], timeout_s: float) -> MemoryDelivery | None:
        deadline = time.monotonic() + timeout_s
        while True:
            if (held := self._free(queues)) is not None:
                held.deliveries += 1
                held.free_at = time.monotonic() + self.lease_s
                return MemoryDelivery(self, held)
            if (left_s := deadline - time.monotonic()) <= 0:
                return None
            await self._wait(min(left_s, self._until_free(queues)))

    async def lose(self) -> None:
        """The queue is empty, and another one than before."""
        self.held.clear()
        self._incarnation += 1

    def ring(self) -> None:
        """Wake whoever waits in `take`."""
        self._changed.set()
        self._changed = asyncio.Event()

    def _free(self, queues: Sequence[str]) -> Held | None:
        now = time.monotonic()
        found: dict[Lane, Held] = {}
        for held in self.held.values():
            if held.free_at <= now:
                found.setdefault(Lane(held.work.queue, held.work.priority), held)
        first = next((found[lane] for lane in lanes(queues, self._turn) if lane in found), None)
        self._turn += first is not None
        return first

    def _until_free(self, queues: Sequence[str]) -> float:
        ends = [held.free_at for held in self.held.values() if held.work.queue in queues]
        return max(0.0, min(ends, default=float("inf")) - time.monotonic())

    async def _wait(self, timeout_s: float) -> None:
        try:
            async with asyncio.timeout(timeout_s):  # wait_for of 3.11 swallows a cancellation now and then
                await self._changed.wait()
        except TimeoutError:
            return


class MemoryDelivery:
    """`Delivery` of held work. One whose lease was lost to another can neither keep it nor hand it back."""

    def __init__(self, queue: MemoryWorkQueue, held: Held) -> None:
        self._queue = queue
        self._held = held
        self._deliveries = held.deliveries

    @property
    def work(self) -> Work:
        return self._held.work

    @property
    def number(self) -> int:
        return self.work.delivered + self._deliveries

    async def extend(self) -> None:
        if self._is_ours:
            self._held.free_at = time.monotonic() + self._queue.lease_s

    async def done(self) -> None:
        work = self._held.work
        key = (work.queue, work.execution_id, work.step, work.turn)
        if self._queue.held.get(key) is self._held:
            del self._queue.held[key]

    async def hand_back(self, delay_s: float = 0) -> None:
        if self._is_ours:
            self._held.free_at = time.monotonic() + delay_s
            self._queue.ring()

    def let_go(self) -> None:
        """Nobody keeps a list of what is held."""

    @property
    def _is_ours(self) -> bool:
        return self._held.deliveries == self._deliveries
