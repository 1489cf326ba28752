"""Whoever signs checkpoints, on both databases: over what, when, and who of two."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import pytest

from application.audit import keeping
from application.audit.keeping import Interval, Keeper, LogChanged, keep_checkpoints
from application.audit.merkle import StoredEvent
from application.audit.ports import AuditStore
from application.audit.verifying import verify_log
from application.ports import EventLog
from infrastructure.clock import SystemClock
from tests.infrastructure.event_log.audited import KEY, KEYS, grow, log, store, tamper
from tests.waiting import eventually

__all__ = ["log", "store"]


async def test_nothing_is_signed_over_hashes_that_were_changed(
    log: EventLog, store: AuditStore, event_log_url: str
) -> None:
    tamper(event_log_url, "UPDATE kasal_tiles SET hashes = hashes || hashes")
    await Keeper.of(store, KEY, SystemClock())
    tamper(event_log_url, "DELETE FROM kasal_tiles WHERE level = 1")
    with pytest.raises(LogChanged, match="tile 0 of level 1"):
        await Keeper.of(store, KEY, SystemClock())


async def test_nothing_is_signed_over_a_hole(log: EventLog, store: AuditStore, event_log_url: str) -> None:
    tamper(event_log_url, "DELETE FROM kasal_events WHERE notification_id = 1005")
    keeper = await Keeper.of(store, KEY, SystemClock())
    with pytest.raises(LogChanged, match="behind position 1000"):
        await keeper.extend(10_000)


async def test_of_two_keepers_one_signs(event_log: EventLog, store: AuditStore) -> None:
    await grow(event_log, 20)
    one, other = [await Keeper.of(store, KEY, SystemClock()) for _ in range(2)]
    for keeper in (one, other):
        assert not await keeper.extend(100)
    assert sorted(await asyncio.gather(one.sign(), other.sign())) == [False, True]
    assert (await verify_log(store, KEYS)).checkpoints == 1


class Rested(Exception):
    """The keeper waits for the log to grow."""


async def test_a_log_that_always_grows_is_not_looked_at_all_the_time(
    event_log: EventLog, store: AuditStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    looks, read = list[int](), store.events

    async def events(after_position: int, to_position: int) -> Sequence[StoredEvent]:
        looks.append(after_position)
        await grow(event_log, 1)
        return await read(after_position, to_position)

    async def rest(position: int, timeout_s: float) -> None:
        raise Rested

    monkeypatch.setattr(store, "events", events)
    monkeypatch.setattr(keeping, "LOOK_S", 0)
    keeper = await Keeper.of(store, KEY, SystemClock())
    with pytest.raises(Rested):
        async with asyncio.timeout(20):
            await keeper.run(Interval(every_s=60, every_events=10_000), rest)
    assert looks == [0]


async def test_checkpoints_follow_the_log_by_themselves(event_log: EventLog, store: AuditStore) -> None:
    interval = Interval(every_s=0.1, every_events=100)
    keeping = asyncio.create_task(
        keep_checkpoints(store, KEY, SystemClock(), interval, event_log.wait_beyond)
    )

    async def covers(size: int) -> bool:
        last = await store.last_checkpoint()
        return last is not None and last.size == size

    try:
        await grow(event_log, 250)
        await eventually(lambda: covers(250), timeout_s=30)
        await grow(event_log, 1)
        await eventually(lambda: covers(251), timeout_s=30)
    finally:
        keeping.cancel()
        await asyncio.wait([keeping])
    sizes = [checkpoint.size for checkpoint in await store.newest(None, 100)]
    assert all(newer - older <= 100 for newer, older in zip(sizes, [*sizes[1:], 0], strict=True))
    assert (await verify_log(store, KEYS)).is_sound
