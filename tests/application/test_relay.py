"""The relay's rules, on a log and a feed in memory."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager, suppress

import pytest

from application.ports import EventFeed, EventLog
from application.relay import FeedOutOfStep, relay
from domain.errors import Unavailable
from domain.message import Recorded
from infrastructure.event_log.memory import MemoryEventLog
from infrastructure.nats.memory import MemoryFeed
from tests.contracts.event_feed_contract import followed
from tests.contracts.event_log_commands import a_command
from tests.waiting import eventually


@pytest.fixture
async def log() -> AsyncIterator[MemoryEventLog]:
    log = MemoryEventLog()
    yield log
    await log.close()


@pytest.fixture(autouse=True)
def impatience(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("application.relay.IDLE_S", 0.05)


async def fill(log: EventLog, count: int) -> None:
    """So many events more, each of a stream of its own."""
    head = await log.head()
    for number in range(head, head + count):
        await log.append(a_command(f"order-{number}"))


@asynccontextmanager
async def running(log: EventLog, feed: EventFeed, page: int = 7) -> AsyncIterator[asyncio.Task[None]]:
    task = asyncio.create_task(relay(log, feed, page=page))
    try:
        yield task
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError, FeedOutOfStep):
            await task


async def in_step(log: EventLog, feed: EventFeed) -> None:
    """Wait until the feed ends where the log does; then it holds what the log holds."""

    async def ends_together() -> bool:
        return await feed.last_position() == await log.head()

    await eventually(ends_together)


async def assert_same(log: EventLog, feed: EventFeed, after: int = 0) -> None:
    wanted = list(await log.read_all(after, 100_000))
    assert await followed(feed, 0, len(wanted)) == wanted


async def test_what_is_in_the_log_comes_into_the_feed(log: MemoryEventLog) -> None:
    feed = MemoryFeed()
    await fill(log, 30)
    async with running(log, feed):
        await in_step(log, feed)
        await fill(log, 5)
        await in_step(log, feed)
    await assert_same(log, feed)


async def test_an_empty_log_makes_an_empty_feed(log: MemoryEventLog) -> None:
    feed = MemoryFeed()
    async with running(log, feed):
        await in_step(log, feed)
        await fill(log, 1)
        await in_step(log, feed)
    await assert_same(log, feed)


async def test_a_lost_tail_is_filled_up(log: MemoryEventLog) -> None:
    feed = MemoryFeed()
    await fill(log, 20)
    async with running(log, feed):
        await in_step(log, feed)
        await feed.lose_tail(8)
        await in_step(log, feed)
        await feed.lose_tail(20)
        await fill(log, 1)
        await in_step(log, feed)
    await assert_same(log, feed)


async def test_a_lost_feed_is_made_anew(log: MemoryEventLog) -> None:
    feed = MemoryFeed()
    await fill(log, 20)
    async with running(log, feed):
        await in_step(log, feed)
        await feed.lose()
        await in_step(log, feed)
        await feed.lose()
        await fill(log, 1)
        await in_step(log, feed)
    await assert_same(log, feed)


async def test_a_relay_that_begins_again_goes_on_where_the_feed_ends(log: MemoryEventLog) -> None:
    feed = MemoryFeed()
    for _ in range(5):
        await fill(log, 10)
        async with running(log, feed):
            await in_step(log, feed)
    await assert_same(log, feed)


async def test_two_relays_are_as_good_as_one(log: MemoryEventLog) -> None:
    feed = MemoryFeed()
    async with running(log, feed, page=3), running(log, feed, page=5):
        for _ in range(20):
            await fill(log, 10)
        await in_step(log, feed)
    await assert_same(log, feed)


class TruncatedLog(MemoryEventLog):
    """A log whose first events were archived away."""

    def __init__(self, first: int) -> None:
        super().__init__()
        self.first = first

    async def read_all(self, after_position: int, limit: int) -> Sequence[Recorded]:
        return await super().read_all(max(after_position, self.first - 1), limit)


async def test_a_feed_begins_where_the_log_does() -> None:
    log, feed = TruncatedLog(first=501), MemoryFeed()
    await fill(log, 520)
    async with running(log, feed):
        await in_step(log, feed)
    events = await followed(feed, 0, 20)
    assert [event.position for event in events] == list(range(501, 521))


async def test_a_feed_that_ends_before_the_log_begins_stops_the_relay() -> None:
    log, feed = TruncatedLog(first=1), MemoryFeed()
    await fill(log, 20)
    async with running(log, feed):
        await in_step(log, feed)
    await fill(log, 20)
    log.first = 31
    with pytest.raises(FeedOutOfStep, match="the log begins at 31, but the feed ends at 20"):
        await asyncio.wait_for(relay(log, feed), 10)
    assert await feed.last_position() == 20


async def test_a_feed_that_is_ahead_of_the_log_stops_the_relay(log: MemoryEventLog) -> None:
    feed, older = MemoryFeed(), MemoryEventLog()
    await fill(log, 20)
    async with running(log, feed):
        await in_step(log, feed)
    await fill(older, 10)
    with pytest.raises(FeedOutOfStep, match="the feed ends at 20, but the log at 10"):
        await asyncio.wait_for(relay(older, feed), 10)
    assert await feed.last_position() == 20


async def test_a_feed_that_tells_another_history_stops_the_relay(log: MemoryEventLog) -> None:
    feed, other = MemoryFeed(), MemoryEventLog()
    await fill(log, 20)
    async with running(log, feed):
        await in_step(log, feed)
    await fill(other, 25)
    with pytest.raises(FeedOutOfStep, match="position 20 is another event in the feed than in the log"):
        await asyncio.wait_for(relay(other, feed), 10)
    assert await feed.last_position() == 20


class UnreliableFeed(MemoryFeed):
    """Every other call of a kind fails: before it does anything, or after."""

    def __init__(self) -> None:
        super().__init__()
        self.calls = 0

    async def last_position(self) -> int | None:
        return await self._perhaps(super().last_position)

    async def publish(self, page: Sequence[Recorded]) -> None:
        await self._perhaps(lambda: MemoryFeed.publish(self, page))

    async def _perhaps(
        self, action: Callable[[], Awaitable[int | None]] | Callable[[], Awaitable[None]]
    ) -> int | None:
        self.calls += 1
        if self.calls % 4 == 1:
            raise Unavailable("the feed is away")
        answer = await action()
        if self.calls % 4 == 3:
            raise OSError("the answer was lost")
        return answer


async def test_failures_before_and_after_the_fact_change_nothing(
    log: MemoryEventLog, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("application.relay.BACK_OFF_S", (0.001, 0.002))
    feed = UnreliableFeed()
    await fill(log, 100)
    async with running(log, feed):
        await eventually(lambda: len(feed._events) == 100)
    assert feed._events == list(await log.read_all(0, 100))


class SlowFeed(MemoryFeed):
    """Publishes a page only when it is told to."""

    def __init__(self) -> None:
        super().__init__()
        self.is_publishing = asyncio.Event()
        self.go_on = asyncio.Event()

    async def publish(self, page: Sequence[Recorded]) -> None:
        self.is_publishing.set()
        await self.go_on.wait()
        await super().publish(page)


async def test_on_cancellation_the_page_in_hand_is_finished(log: MemoryEventLog) -> None:
    feed = SlowFeed()
    await fill(log, 10)
    task = asyncio.create_task(relay(log, feed, page=4))
    await feed.is_publishing.wait()
    task.cancel()
    await asyncio.sleep(0)
    feed.go_on.set()
    with pytest.raises(asyncio.CancelledError):
        await asyncio.wait_for(task, 10)
    assert await feed.last_position() == 4
