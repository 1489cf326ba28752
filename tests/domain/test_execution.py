"""The rules of an execution's life."""

from __future__ import annotations

import msgspec
import pytest
from msgspec.structs import replace

from domain.errors import NotFound, Rejected
from domain.execution import (
    EXECUTION,
    CancelExecution,
    ExecutionCancelled,
    ExecutionCompleted,
    ExecutionFailed,
    ExecutionPaused,
    ExecutionRequested,
    Failure,
    RecordProgress,
    RequestExecution,
    RescheduleStep,
    StartStep,
    Status,
    StepCompleted,
    StepFailed,
    StepScheduled,
    StepStarted,
    TaskCompleted,
    TaskOutput,
    TaskStarted,
    foreseen,
)
from domain.message import Event
from tests.domain.examples import blog, diamond
from tests.domain.spec import Spec

spec = Spec(EXECUTION)
requested = ExecutionRequested(name="run", definition=blog(), inputs={"topic": "tea"}, models={})
scheduled = StepScheduled(step="crew", turn=1)
started = StepStarted(step="crew", turn=1, delivery=1, attempt=1, runner="r1")
begun = TaskStarted(step="crew", attempt=1, task="research", agent="researcher")
running = spec.given(requested, scheduled, started)


def completed(task: str, step: str = "crew", attempt: int = 1) -> TaskCompleted:
    return TaskCompleted(
        step=step, attempt=attempt, task=task, output=TaskOutput(task.upper()), duration_ms=5
    )


all_tasks = tuple(completed(task) for task in ("research", "draft", "edit"))
done = StepCompleted(step="crew", attempt=1)


def claim(turn: int = 1, delivery: int = 1, runner: str = "r1", step: str = "crew") -> StartStep:
    return StartStep(execution_id="x", step=step, turn=turn, delivery=delivery, runner=runner)


def report(*entries: Event, after: int = 0, attempt: int = 1, step: str = "crew") -> RecordProgress:
    return RecordProgress(execution_id="x", step=step, attempt=attempt, after=after, entries=entries)  # type: ignore[arg-type]


def test_a_request_schedules_the_steps_that_wait_for_nothing() -> None:
    command = RequestExecution(
        execution_id="x", name="run", definition=blog(), inputs={"topic": "tea"}, models={}
    )
    spec.when(command).then(requested, scheduled)


def test_an_execution_is_requested_once() -> None:
    command = RequestExecution(execution_id="x", name="run", definition=blog(), inputs={}, models={})
    spec.given(requested, scheduled).when(command).then_refused(Rejected, "exists already")


def test_a_claim_begins_the_first_attempt() -> None:
    spec.given(requested, scheduled).when(claim()).then(started)


def test_the_same_claim_twice_begins_one_attempt() -> None:
    running.when(claim()).then_nothing()


def test_second_runner_is_rejected() -> None:
    running.when(claim(runner="r2")).then_refused(Rejected, "while running by r1")


def test_a_later_delivery_outdates_the_runner_before() -> None:
    again = StepStarted(step="crew", turn=1, delivery=2, attempt=2, runner="r2")
    running.when(claim(delivery=2, runner="r2")).then(again)


def test_a_report_of_an_outdated_attempt_is_rejected_with_its_number() -> None:
    again = StepStarted(step="crew", turn=1, delivery=2, attempt=2, runner="r2")
    running.given(again).when(report(begun)).then_refused(
        Rejected, "attempt 1 is not allowed while attempt 2"
    )


def test_a_claim_of_an_old_turn_is_rejected() -> None:
    running.given(StepScheduled(step="crew", turn=2)).when(claim()).then_refused(
        Rejected, "turn 2 is scheduled"
    )


def test_attempts_end_with_the_limit() -> None:
    events = [requested, scheduled]
    for number in (1, 2, 3):
        events.append(StepStarted(step="crew", turn=1, delivery=number, attempt=number, runner="r1"))
    decided = spec.given(*events).when(claim(delivery=4)).decided()
    assert [type(event) for event in decided] == [ExecutionFailed]
    assert decided[0].failure.code == "attempts_exhausted"  # type: ignore[attr-defined]


def first_report(*entries: Event, runner: str = "r1") -> RecordProgress:
    return replace(report(*entries), claim=claim(runner=runner))


def test_a_first_report_may_bring_the_claim() -> None:
    spec.given(requested, scheduled).when(first_report(begun)).then(started, begun)


def test_a_first_report_that_comes_again_changes_nothing() -> None:
    running.given(begun).when(first_report(begun)).then_nothing()


def test_of_two_first_reports_one_counts() -> None:
    running.given(begun).when(first_report(begun, runner="r2")).then_refused(Rejected, "while running by r1")


def test_a_first_report_of_an_outdated_delivery_is_refused() -> None:
    again = StepStarted(step="crew", turn=1, delivery=2, attempt=1, runner="r2")
    spec.given(requested, scheduled, again).when(first_report(begun)).then_refused(
        Rejected, "while running by r2"
    )


def test_a_first_report_of_a_paused_execution_is_refused() -> None:
    spec.given(requested, scheduled, ExecutionPaused(reason="")).when(first_report(begun)).then_refused(
        Rejected, "while paused"
    )


def test_only_a_claim_of_work_that_nobody_began_is_foreseen() -> None:
    offered = spec.given(requested, scheduled).state()
    assert foreseen(offered, claim()) == spec.given(requested, scheduled, started).state()
    assert foreseen(offered, claim(delivery=2)) is None
    assert foreseen(offered, claim(turn=2)) is None
    assert foreseen(offered, claim(step="other")) is None
    assert foreseen(running.state(), claim(delivery=2)) is None
    assert foreseen(running.given(StepScheduled(step="crew", turn=2)).state(), claim(turn=2)) is None
    assert foreseen(spec.given(requested, scheduled, ExecutionPaused(reason="")).state(), claim()) is None


def test_progress_is_recorded_as_reported() -> None:
    running.when(report(begun, completed("research"))).then(begun, completed("research"))


def test_a_repeated_report_changes_nothing() -> None:
    running.given(begun).when(report(begun)).then_nothing()


def test_a_report_that_leaves_a_gap_is_rejected() -> None:
    running.when(report(begun, after=1)).then_refused(Rejected, "does not follow entry 0")


def test_an_entry_of_another_step_is_rejected() -> None:
    running.when(report(completed("one", step="other"))).then_refused(Rejected, "another report")


def test_the_last_step_completes_the_execution_with_its_last_output() -> None:
    running.given(*all_tasks).when(report(done, after=3)).then(
        done, ExecutionCompleted(output=TaskOutput("EDIT"))
    )


def test_a_step_is_not_completed_before_its_tasks() -> None:
    running.when(report(done)).then_refused(Rejected, "'research' has no output")


def test_a_failed_step_fails_the_execution() -> None:
    failure = Failure("timeout", "the model did not answer in 120 s", task="research")
    failed = StepFailed(step="crew", attempt=1, failure=failure)
    running.when(report(failed)).then(failed, ExecutionFailed(failure=failure, step="crew"))


def test_nothing_is_reported_after_the_steps_end() -> None:
    failed = StepFailed(step="crew", attempt=1, failure=Failure("x", "y"))
    running.when(report(failed, begun)).then_refused(Rejected, "after the step's end")


def test_a_last_report_that_comes_again_is_harmless() -> None:
    end = (done, ExecutionCompleted(output=TaskOutput("EDIT")))
    running.given(*all_tasks, *end).when(report(done, after=3)).then_nothing()


@pytest.mark.parametrize("before", [(requested, scheduled), (requested, scheduled, started)])
def test_an_open_execution_can_be_cancelled(before: tuple[Event, ...]) -> None:
    cancel = CancelExecution(execution_id="x", reason="enough")
    spec.given(*before).when(cancel).then(ExecutionCancelled(reason="enough"))


def test_cancelling_twice_is_fulfilled_already() -> None:
    cancelled = running.given(ExecutionCancelled())
    cancelled.when(CancelExecution(execution_id="x")).then_nothing()


def test_a_completed_execution_can_not_be_cancelled() -> None:
    ended = running.given(*all_tasks, done, ExecutionCompleted(output=TaskOutput("EDIT")))
    ended.when(CancelExecution(execution_id="x")).then_refused(Rejected, "while completed")


def test_a_report_after_cancellation_is_rejected() -> None:
    cancelled = running.given(ExecutionCancelled())
    cancelled.when(report(begun)).then_refused(Rejected, "while cancelled")


def test_what_is_not_there_can_not_be_cancelled() -> None:
    spec.when(CancelExecution(execution_id="x")).then_refused(NotFound, "no execution 'x'")


def test_a_forgotten_turn_is_scheduled_again_once() -> None:
    command = RescheduleStep(execution_id="x", step="crew", turn=1, reason="lost")
    again = StepScheduled(step="crew", turn=2, reason="lost")
    running.when(command).then(again)
    running.given(again).when(command).then_nothing()


def test_a_step_is_taken_from_a_runner_that_is_gone_only_while_that_one_has_it() -> None:
    gone = RescheduleStep(execution_id="x", step="crew", turn=1, reason="gone", runner="r1")
    running.when(gone).then(StepScheduled(step="crew", turn=2, reason="gone"))
    taken_over = msgspec.structs.replace(started, delivery=2, attempt=2, runner="r2")
    running.given(taken_over).when(gone).then_nothing()
    spec.given(requested, scheduled).when(gone).then_nothing()


def run_step(sentence: Spec, step: str, task: str) -> Spec:  # type: ignore[type-arg]
    begin = StepStarted(step=step, turn=1, delivery=1, attempt=1, runner="r1")
    return sentence.given(begin, completed(task, step))


def test_steps_begin_when_all_that_they_wait_for_are_done() -> None:
    sentence = spec.given(
        ExecutionRequested(name="run", definition=diamond(), inputs={}, models={}),
        StepScheduled(step="first", turn=1),
    )
    end = StepCompleted(step="first", attempt=1)
    left, right = StepScheduled(step="left", turn=1), StepScheduled(step="right", turn=1)
    sentence = run_step(sentence, "first", "one")
    sentence.when(report(end, after=1, step="first")).then(end, left, right)
    sentence = run_step(run_step(sentence.given(end, left, right), "left", "two"), "right", "three")
    left_end, right_end = StepCompleted(step="left", attempt=1), StepCompleted(step="right", attempt=1)
    sentence.when(report(left_end, after=1, step="left")).then(left_end)
    last = StepScheduled(step="last", turn=1)
    sentence.given(left_end).when(report(right_end, after=1, step="right")).then(right_end, last)


def test_status_follows_the_events() -> None:
    assert spec.given(requested, scheduled).state().status is Status.PENDING
    assert running.state().status is Status.RUNNING
    assert running.given(ExecutionCancelled()).state().status is Status.CANCELLED
