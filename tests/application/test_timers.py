"""Timers over the whole way of an execution: its time is over, its step is put off, their store is lost."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
import structlog

from application.delays import DelayedStep, StepDelays
from application.ports import Assignment, Clock, Reporter, Work
from application.timeouts import LimitedExecution, Timeouts
from application.timers import Alarms, Timer, TimerKind
from domain.definition import Definition, Limits
from domain.execution import (
    Failure,
    PauseExecution,
    ResumeExecution,
    RetryExecution,
    Status,
    StepCompleted,
    StepFailed,
    StepStarted,
)
from domain.message import Recorded
from domain.registry import event_of
from domain.retries import Retry
from infrastructure.clock import FixedClock, SystemClock
from infrastructure.nats.memory_timers import MemoryTimers
from tests.application.house import ME, House, PlainEngine
from tests.domain.examples import blog
from tests.waiting import eventually


class Watched(House):
    """A house whose timers ring."""

    def __init__(self) -> None:
        super().__init__()
        self.timers = MemoryTimers()
        self.timeouts = Timeouts(self.timers, self.log, self.commands, SystemClock(), self.limited)
        self.delays = StepDelays(self.timers, self.queue, self.delayed)
        self.put_off: list[DelayedStep] = []

    async def limited(self) -> list[LimitedExecution]:
        return [LimitedExecution("default", execution_id) for execution_id in self.executions]

    async def delayed(self) -> list[DelayedStep]:
        return self.put_off

    def alarms(self, *kinds: TimerKind, clock: Clock | None = None) -> Alarms:
        kinds = kinds or (self.timeouts, self.delays)
        return Alarms(self.feed, self.timers, kinds, self.log.head, clock or SystemClock())

    async def status(self) -> Status | None:
        return (await self.state("x")).status


def limited(timeout_s: int) -> Definition:
    return blog(limits=Limits(timeout_s=timeout_s))


async def test_an_execution_times_out_when_it_was_pending_for_too_long() -> None:
    house = Watched()
    async with house.running(house.alarms().run()):
        await house.start("x", limited(1), topic="tea")
        await eventually(lambda: is_timed_out(house))


async def is_timed_out(house: Watched) -> bool:
    return await house.status() is Status.TIMED_OUT


async def test_time_that_is_spent_paused_does_not_count() -> None:
    house = Watched()
    await house.start("x", limited(1), topic="tea")
    await house.commands.handle(PauseExecution(execution_id="x"), ME)
    late = Timer(kind="timeout", key="x", due=datetime.now(UTC))
    async with house.running(house.alarms().run()):
        await eventually(lambda: house.timers.held)
        await eventually(lambda: house.timers.held["timeout", "x"].due > datetime.now(UTC))
        await house.timeouts.rings(late)
        assert await house.status() is Status.PAUSED
        await house.commands.handle(ResumeExecution(execution_id="x"), ME)
        await eventually(lambda: is_timed_out(house))


async def test_a_timer_that_rings_twice_or_for_what_has_ended_changes_nothing() -> None:
    house = Watched()
    await house.start("x", limited(3600), topic="tea")
    late = Timer(kind="timeout", key="x", due=datetime.now(UTC))
    for _ in range(2):
        await house.timeouts.rings(late)
    assert await house.status() is Status.PENDING
    await house.timeouts.rings(Timer(kind="timeout", key="never was", due=datetime.now(UTC)))


async def test_a_store_that_lost_its_timers_gets_them_again() -> None:
    house = Watched()
    house.put_off = [DelayedStep(Work(execution_id="y", step="crew", turn=2), datetime.now(UTC))]
    await house.start("x", limited(3600), topic="tea")
    async with house.running(house.alarms().run()):
        await eventually(lambda: ("timeout", "x") in house.timers.held)
        await eventually(lambda: bool(house.queue.held))
        await house.timers.lose()
        await eventually(lambda: ("timeout", "x") in house.timers.held)


async def test_a_step_that_is_put_off_is_queued_when_its_time_comes_and_only_once() -> None:
    house = Watched()
    work = Work(execution_id="y", step="crew", turn=2)
    house.put_off = [DelayedStep(work, datetime.now(UTC) + timedelta(seconds=0.3))]
    async with house.running(house.alarms().run()):
        await eventually(lambda: bool(house.queue.held))
        assert datetime.now(UTC) >= house.put_off[0].not_before
        assert [held.work for held in house.queue.held.values()] == [work]
        await eventually(lambda: not house.timers.held)


class Faltering(PlainEngine):
    """Fails as often as it is told to, then runs on."""

    def __init__(self, code: str, failures: int) -> None:
        super().__init__()
        self.code = code
        self.failures = failures

    async def run(self, assignment: Assignment, reporter: Reporter) -> StepCompleted | StepFailed:
        if self.failures:
            self.failures -= 1
            failure = Failure(self.code, "it did not work")
            return StepFailed(step=assignment.step, attempt=assignment.attempt, failure=failure)
        return await super().run(assignment, reporter)


def retrying(initial_s: float) -> Definition:
    return blog(retry=Retry(max_attempts=3, initial_s=initial_s, factor=1, on=("timeout",)))


async def test_a_failed_step_begins_again_after_its_pause_and_comes_to_its_end() -> None:
    house = Watched()
    runner = house.runner("r", Faltering("timeout", 2))
    async with house.running(house.alarms().run(), house.dispatcher().run(), runner.run()):
        await house.start("x", retrying(0.2), topic="tea")
        await eventually(lambda: is_completed(house))
    events = [event_of(recorded) for recorded in await house.log.read_stream("execution-x")]
    times = [recorded.metadata.at for recorded in await house.log.read_stream("execution-x")]
    failed = [index for index, event in enumerate(events) if isinstance(event, StepFailed)]
    begun = [index for index, event in enumerate(events) if isinstance(event, StepStarted)]
    assert (len(failed), len(begun)) == (2, 3)
    for index, next_index in zip(failed, begun[1:], strict=True):
        assert (times[next_index] - times[index]).total_seconds() >= 0.2


async def is_completed(house: Watched) -> bool:
    return await house.status() is Status.COMPLETED


async def test_a_failed_execution_is_retried_by_hand_to_its_end() -> None:
    house = Watched()
    runner = house.runner("r", Faltering("auth", 1))
    async with house.running(house.alarms().run(), house.dispatcher().run(), runner.run()):
        await house.start("x", blog(), topic="tea")
        await eventually(lambda: is_failed(house))
        await house.commands.handle(RetryExecution(execution_id="x"), ME)
        await eventually(lambda: is_completed(house))


async def is_failed(house: Watched) -> bool:
    return await house.status() is Status.FAILED


class Counting:
    """A kind of timers that counts how often it is rung."""

    name = "counting"
    tags: tuple[str, ...] = ()

    def __init__(self) -> None:
        self.rung: list[Timer] = []

    async def heard(self, recorded: Recorded) -> None:
        raise AssertionError(recorded)

    async def rings(self, timer: Timer) -> None:
        self.rung.append(timer)

    async def recover(self) -> None:
        """It has none."""


@pytest.mark.parametrize(("behind_s", "rings"), [(0.3, True), (3600, False)])
async def test_a_store_whose_clock_is_ahead_does_not_make_a_kind_look_again_and_again(
    behind_s: float, *, rings: bool
) -> None:
    house, kind = Watched(), Counting()
    now = datetime.now(UTC)
    await house.timers.set(Timer(kind="counting", key="x", due=now))
    with structlog.testing.capture_logs() as lines:

        def early() -> bool:
            return any(line["event"].startswith("a timer rang early") for line in lines)

        clock = FixedClock(now - timedelta(seconds=behind_s))
        async with house.running(house.alarms(kind, clock=clock).run()):
            await eventually(lambda: bool(kind.rung) or early())
    assert (bool(kind.rung), early()) == (rings, not rings)
    assert bool(house.timers.held) != rings  # it rings again
