"""The log as a feed: everything once, in order, as it comes."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from application.log_feed import LogFeed
from domain.message import Recorded
from infrastructure.event_log.memory import MemoryEventLog
from tests.contracts.event_log_commands import a_command


async def followed(feed: LogFeed, after: int, count: int, tags: Sequence[str] = ()) -> list[Recorded]:
    """The first `count` events behind a position."""
    found: list[Recorded] = []
    async with asyncio.timeout(60):
        async for batch in feed.follow(after, tags=tags):
            found += batch
            if len(found) >= count:
                break
    return found


async def test_it_yields_what_is_there_and_what_comes() -> None:
    log = MemoryEventLog()
    await log.append(a_command("order-1"))
    following = asyncio.create_task(followed(LogFeed(log), 0, 3))
    for number in (2, 3):
        await asyncio.sleep(0)
        await log.append(a_command(f"order-{number}"))
    assert [recorded.position for recorded in await following] == [1, 2, 3]


async def test_it_begins_behind_the_position_that_it_is_given() -> None:
    log = MemoryEventLog()
    for number in range(4):
        await log.append(a_command(f"order-{number}"))
    assert [recorded.position for recorded in await followed(LogFeed(log), 2, 2)] == [3, 4]


async def test_it_yields_only_the_tags_that_are_asked_for() -> None:
    log = MemoryEventLog()
    await log.append(a_command("order-1"))
    await log.append(a_command("order-2"))
    wanted = (await log.read_all(0, 1))[0].tag
    assert len(await followed(LogFeed(log), 0, 2, tags=[wanted])) == 2
    feed = LogFeed(log)
    async with asyncio.timeout(60):
        assert not await anext(aiter(feed.follow(0, tags=["another.tag"])))


async def test_a_batch_gathers_what_came_while_it_waited() -> None:
    log = MemoryEventLog()
    batches = LogFeed(log, gather_s=0.05).follow(0)
    await log.append(a_command("order-1"))
    assert len(await anext(batches)) == 1
    for number in range(2, 12):
        await log.append(a_command(f"order-{number}"))
    assert len(await anext(batches)) == 10


async def test_nothing_is_gathered_while_somebody_waits_for_it() -> None:
    log, hurry = MemoryEventLog(), asyncio.Event()
    batches = LogFeed(log, 3600, hurry).follow(0)
    await log.append(a_command("order-1"))
    assert len(await anext(batches)) == 1
    await log.append(a_command("order-2"))
    reading = asyncio.ensure_future(anext(batches))
    await asyncio.wait([reading], timeout=0.05)
    assert not reading.done()
    hurry.set()
    async with asyncio.timeout(60):
        assert len(await reading) == 1


async def test_how_long_is_gathered_may_change() -> None:
    log, pauses_s = MemoryEventLog(), iter([0.0, 3600.0])
    batches = LogFeed(log, lambda: next(pauses_s)).follow(0)
    for number in range(2):
        await log.append(a_command(f"order-{number}"))
        async with asyncio.timeout(60):
            assert len(await anext(batches)) == 1
    await log.append(a_command("order-2"))
    reading = asyncio.ensure_future(anext(batches))
    await asyncio.wait([reading], timeout=0.05)
    assert not reading.done()
    reading.cancel()
