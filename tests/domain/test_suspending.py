"""Steps that wait, executions that are paused, and attempts that are told to let go."""

from __future__ import annotations

import msgspec

from domain.errors import Draining, Held, Rejected
from domain.execution import (
    CancelExecution,
    Content,
    ExecutionCancelled,
    ExecutionPaused,
    ExecutionRequested,
    ExecutionResumed,
    ModelCallCompleted,
    ModelCallStarted,
    PauseExecution,
    RescheduleStep,
    ResumeExecution,
    StartStep,
    Status,
    StepCompleted,
    StepReleased,
    StepScheduled,
    StepStarted,
    StepStatus,
    StepSuspended,
    TaskStarted,
    Wait,
    refused_beginnings,
)
from tests.domain.examples import diamond
from tests.domain.test_execution import (
    claim,
    completed,
    report,
    requested,
    run_step,
    running,
    scheduled,
    spec,
)

asked = ModelCallStarted(step="crew", attempt=1, call="c1", model="demo/small", request=Content("d", 1, "?"))
answered = ModelCallCompleted(
    step="crew",
    attempt=1,
    call="c1",
    model="demo/small",
    response=Content("d", 1, "!"),
    prompt_tokens=1,
    completion_tokens=1,
    cost_usd=0,
    duration_ms=1,
)
next_task = TaskStarted(step="crew", attempt=1, task="draft", agent="writer")
question = Wait(kind="human_input", id="q1", message="Is this right?")
suspended = StepSuspended(step="crew", attempt=1, wait=question, refused=1)
released = StepReleased(step="crew", attempt=1)
paused = ExecutionPaused(reason="lunch")
resumed = (ExecutionResumed(), StepScheduled(step="crew", turn=2, reason="resumed"))

calling = running.given(asked)
waiting = calling.given(suspended)
pausing = calling.given(paused)

PAUSE = PauseExecution(execution_id="x", reason="lunch")
RESUME = ResumeExecution(execution_id="x")


def test_an_open_execution_is_paused_once() -> None:
    for sentence in (spec.given(requested, scheduled), running, waiting):
        sentence.when(PAUSE).then(paused)
        sentence.given(paused).when(PAUSE).then_nothing()


def test_a_paused_execution_says_so_and_can_be_cancelled() -> None:
    assert pausing.state().status is Status.PAUSED
    pausing.when(CancelExecution(execution_id="x")).then(ExecutionCancelled())


def test_an_ended_execution_is_neither_paused_nor_resumed() -> None:
    ended = running.given(ExecutionCancelled())
    ended.when(PAUSE).then_refused(Rejected, "PauseExecution is not allowed while cancelled")
    ended.when(RESUME).then_refused(Rejected, "ResumeExecution is not allowed while cancelled")


def test_resuming_schedules_what_was_under_way_with_a_new_turn() -> None:
    pausing.when(RESUME).then(*resumed)
    spec.given(requested, scheduled, paused).when(RESUME).then(*resumed)
    assert pausing.given(*resumed).state().status is Status.PENDING


def test_resuming_what_is_not_paused_is_fulfilled_already() -> None:
    running.when(RESUME).then_nothing()


def test_what_waits_is_not_resumed_and_says_what_it_waits_for() -> None:
    waiting.when(RESUME).then_refused(Rejected, "waits for human_input 'q1'")


def test_no_runner_begins_a_step_of_a_paused_execution() -> None:
    spec.given(requested, scheduled, paused).when(claim()).then_refused(Rejected, "while paused")


def test_calls_in_flight_are_recorded_after_a_pause() -> None:
    pausing.when(report(answered, after=1)).then(answered)
    pausing.given(answered).when(report(completed("research"), after=2)).then(completed("research"))


def test_nothing_begins_after_a_pause() -> None:
    for entry in (next_task, asked, StepCompleted(step="crew", attempt=1)):
        pausing.when(report(entry, after=1)).then_refused(Draining, "told to let go")
    pausing.when(report(answered, next_task, after=1)).then_refused(Draining, "told to let go")


def test_the_last_calls_of_an_attempt_are_recorded_even_when_it_was_resumed_already() -> None:
    pausing.given(*resumed).when(report(answered, after=1)).then(answered)


def test_the_next_attempt_is_held_until_the_one_before_has_let_go() -> None:
    again = pausing.given(*resumed)
    again.when(claim(turn=2)).then_refused(Held, "attempt 1")
    begun = StepStarted(step="crew", turn=2, delivery=1, attempt=2, runner="r1")
    again.given(released).when(claim(turn=2)).then(begun)
    insisting = StartStep(execution_id="x", step="crew", turn=2, delivery=1, runner="r1", insists=True)
    again.when(insisting).then(begun)


def test_an_attempt_that_let_go_reports_nothing_more() -> None:
    pausing.given(released).when(report(answered, after=2)).then_refused(Rejected, "is scheduled")


def test_a_lost_lease_releases_an_attempt_that_was_told_to_let_go() -> None:
    pausing.when(claim(delivery=2)).then(released)
    pausing.given(*resumed).when(claim(delivery=2)).then(released)
    waiting.when(claim(delivery=2)).then(released)


def test_a_runner_that_is_gone_is_not_waited_for() -> None:
    gone = RescheduleStep(execution_id="x", step="crew", turn=1, reason="its runner is gone")
    pausing.when(gone).then(released)
    waiting.when(gone).then(released)


def test_a_runner_that_is_gone_is_known_by_its_name_though_the_step_is_scheduled_again() -> None:
    again = pausing.given(*resumed)
    gone = RescheduleStep(execution_id="x", step="crew", turn=2, reason="its runner is gone", runner="r1")
    again.when(gone).then(released, StepScheduled(step="crew", turn=3, reason="its runner is gone"))
    again.given(released).when(gone).then_nothing()
    again.when(msgspec.structs.replace(gone, runner="r2")).then_nothing()


def test_pauses_do_not_count_as_lost_runners() -> None:
    sentence = pausing
    for number in range(2, 8):
        sentence = sentence.given(
            ExecutionResumed(),
            StepScheduled(step="crew", turn=number, reason="resumed"),
            StepReleased(step="crew", attempt=number - 1),
            StepStarted(step="crew", turn=number, delivery=1, attempt=number, runner="r1"),
            paused,
        )
    sentence = sentence.given(
        ExecutionResumed(), StepScheduled(step="crew", turn=8), StepReleased(step="crew", attempt=7)
    )
    sentence.when(claim(turn=8)).then(StepStarted(step="crew", turn=8, delivery=1, attempt=8, runner="r1"))


def test_a_step_waits_when_its_runner_says_so() -> None:
    wish = StepSuspended(step="crew", attempt=1, wait=question)
    calling.when(report(wish, after=1)).then(suspended)
    state = waiting.state()
    assert (state.status, state.steps["crew"].status) == (Status.WAITING, StepStatus.WAITING)
    assert state.steps["crew"].wait == question


def test_a_report_that_suspends_records_outcomes_and_begins_nothing() -> None:
    wish = StepSuspended(step="crew", attempt=1, wait=question)
    command = report(answered, wish, next_task, after=1)
    both_refused = StepSuspended(step="crew", attempt=1, wait=question, refused=2)
    calling.when(command).then(both_refused, answered)
    after = calling.given(both_refused, answered)
    after.when(command).then_nothing()
    assert refused_beginnings(after.state(), command)
    assert not refused_beginnings(after.state(), report(completed("research"), after=4))
    after.when(report(completed("research"), after=4)).then(completed("research"))


def test_a_step_that_waits_is_scheduled_again_by_what_ends_its_wait() -> None:
    again = waiting.given(StepScheduled(step="crew", turn=2, reason="answered"))
    assert again.state().status is Status.PENDING
    assert again.state().steps["crew"].wait is None


def test_an_answer_during_a_pause_begins_nothing_before_it_is_resumed() -> None:
    answer = waiting.given(released, paused, StepScheduled(step="crew", turn=2, reason="answered"))
    assert answer.state().status is Status.PAUSED
    answer.when(claim(turn=2)).then_refused(Rejected, "while paused")
    answer.when(RESUME).then(ExecutionResumed(), StepScheduled(step="crew", turn=3, reason="resumed"))


def test_a_pause_of_what_waits_ends_in_waiting() -> None:
    both = waiting.given(paused)
    both.when(RESUME).then(ExecutionResumed())
    assert both.given(ExecutionResumed()).state().status is Status.WAITING


def test_an_execution_waits_only_when_nothing_else_is_under_way() -> None:
    sentence = spec.given(
        ExecutionRequested(name="run", definition=diamond(), inputs={}, models={}),
        StepScheduled(step="first", turn=1),
    )
    sentence = run_step(sentence, "first", "one").given(
        StepCompleted(step="first", attempt=1),
        StepScheduled(step="left", turn=1),
        StepScheduled(step="right", turn=1),
    )
    sentence = run_step(run_step(sentence, "left", "two"), "right", "three")
    left_waits = sentence.given(StepSuspended(step="left", attempt=1, wait=question))
    assert left_waits.state().status is Status.RUNNING
    assert left_waits.given(StepCompleted(step="right", attempt=1)).state().status is Status.WAITING
