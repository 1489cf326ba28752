"""Concurrency limits on the whole way of an execution: kept always, and no slot is ever lost."""

from __future__ import annotations

import asyncio
import random
from collections import defaultdict
from typing import Any

import pytest

from application.admission import Admission
from application.ports import Assignment
from domain.definition import Concurrency, Definition
from domain.execution import (
    CancelExecution,
    ExecutionAdmitted,
    ExecutionCancelled,
    ExecutionCompleted,
    ExecutionFailed,
    ExecutionHeld,
    RetryExecution,
    Status,
)
from domain.registry import event_of
from domain.slots import SLOTS, Slots
from tests.application.house import ME, House, PlainEngine
from tests.domain.examples import blog
from tests.waiting import eventually

ENDS = (ExecutionCompleted, ExecutionFailed, ExecutionCancelled)


def limited(limit: int = 1, key: str | None = None, **changes: object) -> Definition:
    return blog(concurrency=Concurrency(limit=limit, key=key), **changes)


async def statuses(house: House) -> dict[str, Status | None]:
    return {name: (await house.state(name)).status for name in house.executions}


async def slots_of(house: House) -> dict[str, Slots]:
    """Every slots aggregate, by the key that its executions were held with."""
    found = {}
    for recorded in await house.log.read_all(0, 1_000_000):
        event = event_of(recorded)
        if isinstance(event, ExecutionHeld):
            found[event.key] = await house.commands.state_of(SLOTS, event.slots_id)
    return found


async def most_at_once(house: House) -> dict[str, int]:
    """By slots, the most executions that were under way together."""
    under_way: dict[str, set[str]] = defaultdict(set)
    slots: dict[str, str] = {}
    most: dict[str, int] = defaultdict(int)
    for recorded in await house.log.read_all(0, 1_000_000):
        event, execution = event_of(recorded), recorded.entity_id
        if isinstance(event, ExecutionHeld):
            slots[execution] = event.slots_id
        elif isinstance(event, ExecutionAdmitted):
            under_way[slots[execution]].add(execution)
            most[slots[execution]] = max(most[slots[execution]], len(under_way[slots[execution]]))
        elif isinstance(event, ENDS):
            under_way[slots[execution]].discard(execution)
    return most


async def begin_order(house: House) -> list[str]:
    events = await house.log.read_all(0, 1_000_000)
    return [recorded.entity_id for recorded in events if isinstance(event_of(recorded), ExecutionAdmitted)]


async def all_ended(house: House) -> bool:
    return all(status and status.is_terminal for status in (await statuses(house)).values())


async def no_slot_is_left(house: House) -> bool:
    return all(not each.holders and not each.waiting for each in (await slots_of(house)).values())


def gated(gate: asyncio.Event) -> PlainEngine:
    async def before(assignment: Assignment, task: str) -> None:
        await gate.wait()

    return PlainEngine(before)


async def test_beyond_the_limit_an_execution_is_pending_until_another_ends() -> None:
    house, gate = House(), asyncio.Event()
    for name in ("a", "b"):
        await house.start(name, limited(), topic="tea")
    async with house.running(house.dispatcher().run(), house.runner("r", gated(gate)).run()):
        await eventually(lambda: is_running(house, "a"))
        assert (await house.state("b")).status is Status.PENDING
        assert (await house.state("b")).is_held
        gate.set()
        await eventually(lambda: all_ended(house))
        await eventually(lambda: no_slot_is_left(house))
    assert list((await statuses(house)).values()) == [Status.COMPLETED] * 2
    assert set((await most_at_once(house)).values()) == {1}


async def is_running(house: House, name: str) -> bool:
    return (await house.state(name)).status is Status.RUNNING


async def test_each_key_has_its_own_slots() -> None:
    house, gate = House(), asyncio.Event()
    for name, topic in (("a", "tea"), ("b", "coffee"), ("c", "tea")):
        await house.start(name, limited(key="about {topic}"), topic=topic)
    async with house.running(house.dispatcher().run(), house.runner("r", gated(gate)).run()):
        await eventually(lambda: is_running(house, "a"))
        await eventually(lambda: is_running(house, "b"))
        assert (await house.state("c")).is_held
        gate.set()
        await eventually(lambda: all_ended(house))
    assert set(await slots_of(house)) == {"about tea", "about coffee"}


async def test_the_higher_priority_goes_first_then_the_earlier_start() -> None:
    house, gate = House(), asyncio.Event()
    async with house.running(house.dispatcher().run(), house.runner("r", gated(gate)).run()):
        await house.start("first", limited(), topic="tea")
        await eventually(lambda: is_running(house, "first"))
        for name, priority in (("low", 2), ("early", 5), ("late", 5), ("high", 9)):
            await house.start(name, limited(priority=priority), topic="tea")
        await eventually(lambda: waiting(house, 4))
        gate.set()
        await eventually(lambda: all_ended(house))
    assert await begin_order(house) == ["first", "high", "early", "late", "low"]


async def waiting(house: House, count: int) -> bool:
    return [len(each.waiting) for each in (await slots_of(house)).values()] == [count]


async def test_whoever_is_cancelled_frees_what_it_has_or_waits_for() -> None:
    house, gate = House(), asyncio.Event()
    for name in ("a", "b", "c"):
        await house.start(name, limited(), topic="tea")
    async with house.running(house.dispatcher().run(), house.runner("r", gated(gate)).run()):
        await eventually(lambda: waiting(house, 2))
        await eventually(lambda: is_running(house, "a"))
        for name in ("b", "a"):
            await house.commands.handle(CancelExecution(execution_id=name), ME)
        await eventually(lambda: is_running(house, "c"))
        gate.set()
        await eventually(lambda: no_slot_is_left(house))
    assert await begin_order(house) == ["a", "c"]


async def test_a_failed_execution_frees_its_slot() -> None:
    house = House()

    async def fail(assignment: Assignment, task: str) -> None:
        raise RuntimeError("broken")

    for name in ("a", "b"):
        await house.start(name, limited(), topic="tea")
    async with house.running(house.dispatcher().run(), house.runner("r", PlainEngine(fail)).run()):
        await eventually(lambda: all_ended(house))
        await eventually(lambda: no_slot_is_left(house))
    assert list((await statuses(house)).values()) == [Status.FAILED] * 2


async def test_an_execution_that_is_retried_asks_for_a_slot_again() -> None:
    house, fails = House(), [True]

    async def fail_once(assignment: Assignment, task: str) -> None:
        if fails and assignment.execution_id == "a":
            fails.clear()
            raise RuntimeError("broken")

    async def has_failed() -> bool:
        return (await house.state("a")).status is Status.FAILED

    await house.start("a", limited(), topic="tea")
    async with house.running(house.dispatcher().run(), house.runner("r", PlainEngine(fail_once)).run()):
        await eventually(has_failed)
        await house.commands.handle(RetryExecution(execution_id="a"), ME)
        await house.start("b", limited(), topic="tea")
        await eventually(lambda: all_ended(house))
        await eventually(lambda: no_slot_is_left(house))
    assert list((await statuses(house)).values()) == [Status.COMPLETED] * 2
    assert await begin_order(house) == ["a", "a", "b"]
    assert set((await most_at_once(house)).values()) == {1}


async def test_a_request_that_comes_after_the_end_leaves_no_slot_taken() -> None:
    """A dispatcher that lags behind another asks for what was returned already."""
    house = House()
    await house.start("a", limited(), topic="tea")
    events = await house.log.read_stream("execution-a")
    await house.commands.handle(CancelExecution(execution_id="a"), ME)

    async with house.running(house.dispatcher().run()):
        await eventually(lambda: nothing_is_open(house))
        await Admission(house.commands).follow(events, ())
        assert [len(each.holders) for each in (await slots_of(house)).values()] == [1]
        await eventually(lambda: no_slot_is_left(house))


@pytest.mark.parametrize("seed", range(20))
async def test_dispatchers_that_end_anywhere_lose_no_slot_and_exceed_no_limit(seed: int) -> None:
    chance = random.Random(seed)  # noqa: S311 - a test, not a secret
    house = House(lease_s=1)
    document = limited(limit=2, key="{topic}")
    runner = house.runner("r", PlainEngine(), heartbeat_s=0.1)
    async with house.running(
        runner.run(), patient_dispatchers(house, chance), patient_dispatchers(house, chance)
    ):
        for number in range(12):
            await house.start(f"e{number}", document, topic=chance.choice(["tea", "coffee"]))
            if chance.random() < 0.3:
                victim = f"e{chance.randrange(number + 1)}"
                await cancel(house, victim)
            await asyncio.sleep(chance.random() * 0.003)
        await eventually(lambda: all_ended(house), 30)
        await eventually(lambda: no_slot_is_left(house), 30)
        await eventually(lambda: nothing_is_open(house), 30)
    assert max((await most_at_once(house)).values()) <= 2


async def cancel(house: House, name: str) -> None:
    if (await house.state(name)).is_open:
        await house.commands.handle(CancelExecution(execution_id=name), ME)


async def nothing_is_open(house: House) -> bool:
    return not await house.candidates()


async def patient_dispatchers(house: House, chance: random.Random) -> None:
    """One dispatcher after the other, each for a few milliseconds; at last one that stays."""
    for _ in range(30):
        task: asyncio.Task[Any] = asyncio.create_task(house.dispatcher().run())
        await asyncio.sleep(chance.random() * 0.01)
        task.cancel()
        await asyncio.wait([task])
    await house.dispatcher().run()
