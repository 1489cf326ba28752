"""Schedules over the whole way: several dispatchers, one run for each slot, whatever dies in between."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
import pytest

from application.commands import CommandHandler
from application.requests import create_workflow
from application.schedules import PlannedSchedule, ScheduleRuns, create_schedule
from application.timers import Alarms, Timer
from domain.catalog import Model, PlantEntry
from domain.errors import Invalid, NotFound
from domain.execution import CancelExecution, Status
from domain.message import tag_of
from domain.plan import Plan
from domain.registry import event_of
from domain.schedule import SCHEDULE, Schedule, SlotsDecided
from domain.workflow import ArchiveWorkflow
from infrastructure.clock import FixedClock, SystemClock
from infrastructure.nats.memory_timers import MemoryTimers
from tests.application.house import ME, House, PlainEngine
from tests.domain.examples import blog
from tests.waiting import eventually

NIGHT = datetime(2126, 11, 24, 12, tzinfo=UTC)
SLOT = datetime(2126, 11, 25, 2, tzinfo=UTC)
RUN = "s-21261125T020000Z"


class Planned(House):
    """A house with a workflow `blog`, a clock to be moved, and any number of schedulers."""

    def __init__(self) -> None:
        super().__init__()
        self.clock = FixedClock(NIGHT)
        self.timers = MemoryTimers()

    async def plan(self, **changes: Any) -> None:
        await self.commands.handle(PlantEntry(kind="models", entry=Model(name="demo/small")), ME)
        document = msgspec.json.decode(msgspec.json.encode(blog()))
        await self.commands.handle(create_workflow("blog", document), ME)
        given = {"name": "Nightly", "workflow_id": "blog", "inputs": {"topic": "tea"}, "cron": "0 2 * * *"}
        plan = Plan(**{**given, **changes})
        await self.commands.handle(create_schedule("s", plan, self.clock.now()), ME)

    def scheduler(self) -> ScheduleRuns:
        """As in a process of its own: it remembers nothing of what the others do."""
        return ScheduleRuns(self.timers, CommandHandler(self.log, SystemClock()), self.clock, self.schedules)

    async def schedules(self) -> Sequence[PlannedSchedule]:
        return [PlannedSchedule("default", "s", self.clock.now())]

    def next_ring(self) -> datetime | None:
        timer = self.timers.held.get(("schedule", "s"))
        return timer.due if timer else None

    async def nothing_read(self) -> int:
        return 0

    async def ring(self, *schedulers: ScheduleRuns) -> None:
        timer = Timer(kind="schedule", key="s", due=self.clock.now())
        await asyncio.gather(*(scheduler.rings(timer) for scheduler in schedulers))

    async def schedule(self) -> Schedule:
        return await self.commands.state_of(SCHEDULE, "s")

    async def decided(self) -> list[SlotsDecided]:
        events = [event_of(recorded) for recorded in await self.log.read_stream("schedule-s")]
        return [event for event in events if isinstance(event, SlotsDecided)]

    async def runs(self) -> list[str]:
        """Every execution that was requested, in order."""
        events = await self.log.read_all(0, 10_000)
        return [event.entity_id for event in events if event.tag == "execution.requested"]


async def test_three_dispatchers_begin_one_run_for_a_slot() -> None:
    house = Planned()
    await house.plan()
    house.clock.advance(SLOT - NIGHT)
    schedulers = [house.scheduler() for _ in range(3)]
    await house.ring(*schedulers)
    await house.ring(*schedulers)
    assert await house.runs() == [RUN]
    assert len(await house.decided()) == 1


async def test_a_month_of_nights_has_a_run_for_each_slot_from_three_dispatchers() -> None:
    house = Planned()
    await house.plan(overlap="cancel", timezone="Europe/Berlin")
    schedulers = [house.scheduler() for _ in range(3)]
    for _ in range(30):
        house.clock.advance(timedelta(days=1))
        await house.ring(*schedulers)
    runs = await house.runs()
    assert len(runs) == len(set(runs)) == 30


async def test_a_slot_that_is_not_due_yet_does_not_run() -> None:
    house = Planned()
    await house.plan()
    house.clock.advance(SLOT - NIGHT - timedelta(seconds=1))
    await house.ring(house.scheduler())
    assert await house.runs() == []


async def test_the_dispatcher_that_decided_and_died_is_stood_in_for() -> None:
    house = Planned()
    await house.plan()
    house.clock.advance(SLOT - NIGHT)
    dead = house.scheduler()

    async def nothing(schedule_id: str, tenant: str) -> None:
        return

    dead._begin = nothing  # type: ignore[method-assign]
    await house.ring(dead)
    assert (await house.runs(), len(await house.decided())) == ([], 1)
    await house.scheduler().recover()
    assert await house.runs() == [RUN]


async def test_alarms_set_the_timer_of_the_next_slot_and_run_what_rings() -> None:
    house = Planned()
    await house.plan()
    runner = house.runner("r", PlainEngine())
    alarms = Alarms(house.feed, house.timers, (house.scheduler(),), house.nothing_read, house.clock)
    async with house.running(alarms.run(), house.dispatcher().run(), runner.run()):
        await eventually(lambda: house.next_ring() == SLOT)
        house.clock.advance(SLOT - NIGHT)
        await house.timers.set(Timer(kind="schedule", key="s", due=datetime.now(UTC)))
        await eventually(lambda: is_completed(house, RUN))
        await eventually(lambda: house.next_ring() == SLOT + timedelta(days=1))


async def is_completed(house: House, execution_id: str) -> bool:
    return (await house.state(execution_id)).status is Status.COMPLETED


async def test_a_queued_slot_runs_when_the_run_before_has_ended() -> None:
    house = Planned()
    await house.plan(overlap="queue")
    scheduler = house.scheduler()
    for _ in range(2):
        house.clock.advance(timedelta(days=1))
        await house.ring(scheduler)
    assert (await house.runs(), len((await house.schedule()).queued)) == ([RUN], 1)
    await house.commands.handle(CancelExecution(execution_id=RUN), ME)
    await scheduler.heard((await house.log.read_stream(f"execution-{RUN}"))[-1])
    assert await house.runs() == [RUN, "s-21261126T020000Z"]


async def test_the_run_before_can_give_way() -> None:
    house = Planned()
    await house.plan(overlap="cancel")
    for _ in range(2):
        house.clock.advance(timedelta(days=1))
        await house.ring(house.scheduler())
    assert (await house.state(RUN)).status is Status.CANCELLED
    assert len(await house.runs()) == 2


async def test_a_run_that_can_not_be_begun_says_why_and_the_next_slot_is_tried_again() -> None:
    house = Planned()
    await house.plan()
    await house.commands.handle(ArchiveWorkflow(workflow_id="blog"), ME)
    for _ in range(2):
        house.clock.advance(timedelta(days=1))
        await house.ring(house.scheduler())
    tags = [recorded.tag for recorded in await house.log.read_stream("schedule-s")]
    assert tags[1:] == [tag_of(SlotsDecided), "schedule.run_failed"] * 2
    assert await house.runs() == []


@pytest.mark.parametrize(
    ("changes", "pointer"),
    [({"cron": "x"}, "/cron"), ({"timezone": "x"}, "/timezone"), ({"inputs": {"y": 1}}, "/inputs/y")],
)
async def test_a_wrong_plan_is_refused_with_its_field(changes: dict[str, Any], pointer: str) -> None:
    with pytest.raises(Invalid) as caught:
        await Planned().plan(**changes)
    assert pointer in {fault.pointer for fault in caught.value.faults}


async def test_a_plan_of_no_workflow_is_refused() -> None:
    with pytest.raises(NotFound, match="no workflow 'nothing'"):
        await Planned().plan(workflow_id="nothing")
