"""Waits that end by themselves, over the whole way: the timer is set, rings, and is set again when lost."""

from __future__ import annotations

from collections.abc import Sequence

from application.timers import Alarms
from application.waits import DueWait, Waits
from domain.definition import Definition, Delay, Step
from domain.execution import Status
from infrastructure.clock import SystemClock
from infrastructure.nats.memory_timers import MemoryTimers
from tests.application.house import House, PlainEngine
from tests.domain.flows import crew, flow, gate
from tests.waiting import eventually


class Waiting(House):
    """A house whose waits end by themselves."""

    def __init__(self) -> None:
        super().__init__()
        self.timers = MemoryTimers()
        self.due: list[DueWait] = []

    async def due_waits(self) -> Sequence[DueWait]:
        return self.due

    async def nothing_read(self) -> int:
        return 0

    async def status_of(self, definition: Definition, status: Status) -> None:
        """Runs it until it has that status."""
        waits = Waits(self.timers, self.commands, self.due_waits)
        alarms = Alarms(self.feed, self.timers, (waits,), self.nothing_read, SystemClock())
        loops = (alarms.run(), self.dispatcher().run(), self.runner("r", PlainEngine()).run())
        await self.start("x", definition)

        async def has_it() -> bool:
            return (await self.state("x")).status is status

        async with self.running(*loops):
            await eventually(has_it)


async def test_a_wait_step_ends_by_itself() -> None:
    rest = Step(wait=Delay(for_s=1), after=("a",))
    await Waiting().status_of(flow(a=crew("a"), rest=rest, b=crew("b", ("rest",))), Status.COMPLETED)


async def test_a_moment_that_has_passed_is_over_at_once() -> None:
    rest = Step(wait=Delay(until="'2020-01-01T00:00:00Z'"))
    await Waiting().status_of(flow(rest=rest, b=crew("b", ("rest",))), Status.COMPLETED)


async def test_an_approval_that_nobody_decides_times_out() -> None:
    steps = {"a": crew("a"), "gate": gate(("a",), timeout_s=1), "b": crew("b", ("gate",))}
    await Waiting().status_of(flow(**steps), Status.FAILED)


async def test_a_timer_that_was_lost_is_set_again() -> None:
    house = Waiting()
    waits = Waits(house.timers, house.commands, house.due_waits)
    await house.start("x", flow(rest=Step(wait=Delay(for_s=3600)), b=crew("b", ("rest",))))
    recorded = (await house.log.read_stream("execution-x"))[-1]
    await waits.heard(recorded)
    [timer] = house.timers.held.values()
    house.due = [DueWait("default", "x", "rest", "1-rest", timer.due)]
    await house.timers.lose()
    await waits.recover()
    assert list(house.timers.held.values()) == [timer]
