"""Resuming: a step that was put off after a failure waits for what is left of that time, and no longer."""

from __future__ import annotations

from datetime import timedelta

from application.resuming import resumed
from domain.definition import Definition
from domain.execution import (
    PauseExecution,
    RecordProgress,
    ResumeExecution,
    StartStep,
    StepFailed,
    StepScheduled,
)
from domain.execution.values import Failure
from domain.registry import event_of
from domain.retries import Retry
from tests.application.house import ME, House
from tests.domain.examples import blog

PUT_OFF_S = 60.0
WISH = ResumeExecution(execution_id="x")


def retrying() -> Definition:
    return blog(retry=Retry(max_attempts=3, initial_s=PUT_OFF_S, factor=1, on=("timeout",)))


async def put_off() -> House:
    """An execution that was paused while its step is put off."""
    house = House()
    await house.start("x", retrying(), topic="tea")
    claim = StartStep(execution_id="x", step="crew", turn=1, delivery=1, runner="r")
    await house.commands.handle(claim, ME)
    failed = StepFailed(step="crew", attempt=1, failure=Failure("timeout", "late"))
    report = RecordProgress(execution_id="x", step="crew", attempt=1, after=0, entries=(failed,))
    await house.commands.handle(report, ME)
    await house.commands.handle(PauseExecution(execution_id="x"), ME)
    return house


async def resumed_after(house: House, seconds: float) -> StepScheduled:
    await house.commands.handle(resumed(WISH, house.commands.now() + timedelta(seconds=seconds)), ME)
    last = event_of((await house.log.read_stream("execution-x"))[-1])
    assert isinstance(last, StepScheduled)
    return last


async def test_what_is_left_of_a_back_off_is_waited_for() -> None:
    scheduled = await resumed_after(await put_off(), 40)
    assert scheduled.reason == "resumed"
    assert PUT_OFF_S - 45 < scheduled.delay_s <= PUT_OFF_S - 40


async def test_a_back_off_that_is_over_is_not_waited_for_again() -> None:
    assert (await resumed_after(await put_off(), PUT_OFF_S)).delay_s == 0


async def test_a_second_pause_changes_nothing_of_that() -> None:
    house = await put_off()
    await resumed_after(house, 30)
    await house.commands.handle(PauseExecution(execution_id="x"), ME)
    assert 0 < (await resumed_after(house, 20)).delay_s <= PUT_OFF_S - 30 - 20 + 5
    await house.commands.handle(PauseExecution(execution_id="x"), ME)
    assert (await resumed_after(house, 60)).delay_s == 0
