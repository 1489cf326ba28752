"""Running time of a workflow and day: counted while its executions are RUNNING, and held before each call."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
import pytest

from application.day_budgets import day_of
from application.requests import run_workflow
from application.running_time import RunningTimes
from domain.execution import (
    CancelExecution,
    ModelCallStarted,
    PauseExecution,
    RaiseBudget,
    RecordProgress,
    ResumeExecution,
    StartStep,
    Status,
)
from domain.limits import DayBudget
from domain.spending import SPENDING, Ran
from infrastructure.clock import FixedClock
from tests.application.house import ME, House
from tests.application.test_day_budgets import TEXT, ask, begin_call, opened

NOON = datetime(2026, 11, 24, 12, tzinfo=UTC)


class Timed:
    """Executions of a workflow that may run for a minute a day, and their clock."""

    def __init__(self, house: House, clock: FixedClock) -> None:
        self.house, self._clock = house, clock

    def after(self, seconds: float) -> None:
        self._clock.advance(timedelta(seconds=seconds))

    async def calls(self, execution: str, number: int = 1) -> str:
        """Why its next call is refused; "" when it is not."""
        reply = await begin_call(self.house, execution, number)
        if not reply.is_draining:
            return ""
        (wait,) = [step.wait for step in (await self.house.state(execution)).steps.values() if step.wait]
        return wait.message

    async def claims(self, execution: str, turn: int) -> None:
        await ask(
            self.house,
            StartStep(execution_id=execution, step="crew", turn=turn, delivery=1, runner="r", insists=True),
        )

    async def ran_ms(self) -> int:
        """Of all of today."""
        now = self.house.commands.now()
        state = await self.house.commands.state_of(SPENDING, f"w_{day_of(now)}")
        return state.ran_by_others("", now)


async def timed(*executions: str, limit_s: int = 60, at: datetime = NOON) -> Timed:
    clock = FixedClock(at)
    house = House(clock=clock)
    return Timed(await opened(*executions, house=house, max_running_s=limit_s), clock)


async def test_executions_that_run_together_may_not_run_for_longer_than_the_day_allows() -> None:
    day = await timed("x", "y")
    day.after(29)
    assert await day.calls("x") == ""
    day.after(1)
    refused = await day.calls("y")
    assert "per_day, 2026-11-24: max_running_s is 60; its executions were running for 60 s" in refused
    assert (await day.house.state("y")).status is Status.WAITING


async def test_neither_waiting_nor_the_way_to_a_runner_counts() -> None:
    day = await timed("x", "y")
    day.after(30)
    assert await day.calls("y")
    assert await day.calls("x")
    day.after(1_000)
    assert await day.ran_ms() == 60_000
    await day.house.commands.handle(RaiseBudget(execution_id="y", per_day=DayBudget(max_running_s=100)), ME)
    day.after(1_000)
    await day.claims("y", turn=2)
    day.after(39)
    assert await begin_call_of_attempt(day.house, "y", 2) == Status.RUNNING
    day.after(1)
    assert await day.ran_ms() == 100_000


async def begin_call_of_attempt(house: House, execution: str, attempt: int) -> Status | None:
    await begin_call(house, execution, 1, attempt=attempt)
    return (await house.state(execution)).status


async def test_a_first_report_that_brings_its_claim_begins_the_time() -> None:
    day = await timed()
    await day.house.commands.handle(run_workflow("x", "w", {"topic": "tea"}), ME)
    day.after(500)
    claim = StartStep(execution_id="x", step="crew", turn=1, delivery=1, runner="r")
    call = ModelCallStarted(step="crew", attempt=1, call="c1", model="demo/small", request=TEXT)
    report = RecordProgress(execution_id="x", step="crew", attempt=1, after=0, entries=(call,), claim=claim)
    assert not (await ask(day.house, report)).refused
    day.after(30)
    assert await day.ran_ms() == 30_000


async def test_the_next_day_has_time_again() -> None:
    day = await timed("x", limit_s=10)
    day.after(10)
    assert await day.calls("x")
    day.after(24 * 3600)
    await day.house.commands.handle(RaiseBudget(execution_id="x"), ME)
    await day.claims("x", turn=2)
    assert await begin_call_of_attempt(day.house, "x", 2) is Status.RUNNING


async def test_what_runs_over_midnight_counts_on_the_new_day_from_midnight_on() -> None:
    day = await timed("x", at=datetime(2026, 11, 24, 23, 59, 20, tzinfo=UTC))
    day.after(40 + 59)
    assert await day.calls("x") == ""
    day.after(1)
    assert "2026-11-25: max_running_s is 60; its executions were running for 60 s" in await day.calls("x", 2)


async def test_what_was_paused_by_others_while_its_runner_died_counts_no_more_than_it_ran() -> None:
    day = await timed("x", "y", limit_s=100)
    day.after(20)
    await day.house.commands.handle(PauseExecution(execution_id="x"), ME)
    day.after(25)
    assert await day.calls("y") == ""
    assert await day.ran_ms() == 90_000  # nobody has asked for x so far
    day.after(34)
    assert await day.calls("y", 2) == ""
    assert await day.ran_ms() == 99_000


async def test_what_ends_counts_what_it_ran() -> None:
    day = await timed("x", "y")
    day.after(20)
    await day.house.commands.handle(CancelExecution(execution_id="x"), ME)
    day.after(1_000)
    assert await day.calls("y")  # with a report that came too late, x is settled
    await begin_call(day.house, "x")
    assert await day.ran_ms() == 20_000 + 1_020_000


@pytest.mark.parametrize("is_asked_between", [True, False])
async def test_times_are_those_of_the_events(is_asked_between: bool) -> None:
    day = await timed("x")
    times = RunningTimes(day.house.commands)
    expected: list[tuple[Any, Ran]] = [
        (PauseExecution(execution_id="x"), Ran(10_000)),
        (ResumeExecution(execution_id="x"), Ran(10_000)),
        (CancelExecution(execution_id="x"), Ran(10_000)),
    ]
    assert await times.of("x", NOON) == Ran(0, NOON)
    for command, ran in expected:
        day.after(10)
        await day.house.commands.handle(command, ME)
        if is_asked_between:
            assert await times.of("x", day.house.commands.now()) == ran
    assert await times.of("x", day.house.commands.now()) == Ran(10_000)
    assert await times.of("x", NOON + timedelta(days=1)) == Ran()
    assert msgspec.json.encode(Ran()) == b"{}"
