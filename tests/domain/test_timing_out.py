"""Executions that take too long."""

from __future__ import annotations

import pytest

from domain.definition import Limits
from domain.errors import Rejected
from domain.execution import (
    CancelExecution,
    ExecutionCancelled,
    ExecutionPaused,
    ExecutionRequested,
    ExecutionTimedOut,
    StepScheduled,
    StepStarted,
    StepSuspended,
    TimeOutExecution,
    Wait,
)
from domain.message import Event
from tests.domain.examples import blog
from tests.domain.test_execution import begun, report, running, spec

requested = ExecutionRequested(
    name="run", definition=blog(limits=Limits(timeout_s=900)), inputs={"topic": "tea"}, models={}
)
scheduled = StepScheduled(step="crew", turn=1)
started = StepStarted(step="crew", turn=1, delivery=1, attempt=1, runner="r1")
waits = StepSuspended(step="crew", attempt=1, wait=Wait(kind="approval", id="a1"))
OVER = TimeOutExecution(execution_id="x", spent_s=900.5)


@pytest.mark.parametrize("before", [(requested, scheduled), (requested, scheduled, started)])
def test_an_execution_whose_time_is_over_times_out(before: tuple[Event, ...]) -> None:
    spec.given(*before).when(OVER).then(ExecutionTimedOut(timeout_s=900))


def test_a_timer_that_rings_early_changes_nothing() -> None:
    early = TimeOutExecution(execution_id="x", spent_s=899.9)
    spec.given(requested, scheduled).when(early).then_nothing()


@pytest.mark.parametrize(
    "last", [ExecutionPaused(), waits, ExecutionCancelled(), ExecutionTimedOut(timeout_s=900)]
)
def test_a_timer_that_rings_late_changes_nothing(last: Event) -> None:
    spec.given(requested, scheduled, started, last).when(OVER).then_nothing()


def test_without_a_limit_and_without_an_execution_nothing_times_out() -> None:
    running.when(OVER).then_nothing()
    spec.when(OVER).then_nothing()


def test_what_has_timed_out_takes_no_report_and_no_cancellation() -> None:
    ended = spec.given(requested, scheduled, started, ExecutionTimedOut(timeout_s=900))
    ended.when(report(begun)).then_refused(Rejected, "while timed_out")
    ended.when(CancelExecution(execution_id="x")).then_refused(Rejected, "while timed_out")
