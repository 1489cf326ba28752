"""Failures that are not the end: policies of documents, and people who retry."""

from __future__ import annotations

import pytest
from msgspec.structs import replace

from domain.definition import Concurrency, Limits, Step
from domain.errors import NotFound, Rejected
from domain.execution import (
    AdmitExecution,
    ExecutionCancelled,
    ExecutionCompleted,
    ExecutionFailed,
    ExecutionRequested,
    ExecutionRetried,
    ExecutionTimedOut,
    Failure,
    RecordProgress,
    RetryExecution,
    StartStep,
    Status,
    StepCompleted,
    StepFailed,
    StepScheduled,
    StepStarted,
    StepStatus,
    TaskOutput,
)
from domain.message import Event
from domain.retries import Retry
from tests.domain.examples import blog, diamond
from tests.domain.flows import Run, crew, flow, gate
from tests.domain.spec import Spec
from tests.domain.test_execution import all_tasks, begun, claim, completed, done, report, run_step, spec

RETRY = RetryExecution(execution_id="x")
POLICY = Retry(max_attempts=4, initial_s=2, factor=3, max_s=10, on=("timeout",))
requested = ExecutionRequested(name="run", definition=blog(retry=POLICY), inputs={"topic": "tea"}, models={})
slow = Failure("timeout", "no answer in 120 s", task="research")


def attempt(number: int) -> StepStarted:
    return StepStarted(step="crew", turn=number, delivery=1, attempt=number, runner="r1")


def failed(number: int, failure: Failure = slow) -> StepFailed:
    return StepFailed(step="crew", attempt=number, failure=failure)


def again(number: int, delay_s: float, code: str = "timeout", most: int = 4) -> StepScheduled:
    reason = f"failure {number - 1} of at most {most}: {code}"
    return StepScheduled(step="crew", turn=number, reason=reason, delay_s=delay_s)


def test_a_failure_that_the_document_names_is_tried_again_after_growing_pauses() -> None:
    sentence: Spec[object] = spec.given(requested, StepScheduled(step="crew", turn=1))  # type: ignore[assignment]
    for number, delay_s in ((1, 2.0), (2, 6.0), (3, 10.0)):
        sentence = sentence.given(attempt(number))
        sentence.when(report(failed(number), attempt=number)).then(failed(number), again(number + 1, delay_s))
        sentence = sentence.given(failed(number), again(number + 1, delay_s))
    sentence = sentence.given(attempt(4))
    end = ExecutionFailed(failure=slow, step="crew")
    sentence.when(report(failed(4), attempt=4)).then(failed(4), end)


def test_an_execution_that_tries_again_is_running_until_it_ends() -> None:
    tries = spec.given(requested, StepScheduled(step="crew", turn=1), attempt(1), failed(1), again(2, 2.0))
    assert tries.state().status is Status.RUNNING
    tries.when(claim(turn=2)).then(attempt(2))


def test_another_failure_ends_the_execution() -> None:
    wrong = Failure("auth", "the provider refused the credentials", task="research")
    sentence = spec.given(requested, StepScheduled(step="crew", turn=1), attempt(1))
    sentence.when(report(failed(1, wrong))).then(
        failed(1, wrong), ExecutionFailed(failure=wrong, step="crew")
    )


def test_an_unexplained_exception_of_crewai_is_tried_again_once_where_a_document_says_nothing() -> None:
    plain = ExecutionRequested(name="run", definition=blog(), inputs={"topic": "tea"}, models={})
    odd = Failure("crew_error", "CrewAI raised ValueError in x.py, line 1", "research")
    sentence = spec.given(plain, StepScheduled(step="crew", turn=1), attempt(1))
    second = again(2, 1.0, "crew_error", 2)
    sentence.when(report(failed(1, odd))).then(failed(1, odd), second)
    sentence = sentence.given(failed(1, odd), second, attempt(2))
    end = ExecutionFailed(failure=odd, step="crew")
    sentence.when(report(failed(2, odd), attempt=2)).then(failed(2, odd), end)


def test_attempts_that_failed_do_not_count_as_lost_runners() -> None:
    one_runner = blog(retry=POLICY, limits=Limits(max_attempts=1))
    first = ExecutionRequested(name="run", definition=one_runner, inputs={"topic": "tea"}, models={})
    tries = spec.given(first, StepScheduled(step="crew", turn=1), attempt(1), failed(1), again(2, 2.0))
    tries.when(claim(turn=2)).then(attempt(2))


ended = spec.given(
    requested,
    StepScheduled(step="crew", turn=1),
    attempt(1),
    completed("research"),
    failed(1),
    ExecutionFailed(failure=slow, step="crew"),
)
retried = (ExecutionRetried(), StepScheduled(step="crew", turn=2, reason="retried"))


def test_a_failed_execution_is_retried_with_a_new_turn_of_what_failed() -> None:
    ended.when(RETRY).then(*retried)
    after = ended.given(*retried)
    assert after.state().status is Status.PENDING
    assert "research" in after.state().outputs
    after.when(claim(turn=2)).then(attempt(2))


def test_a_late_report_of_the_attempt_that_failed_is_rejected_after_a_retry() -> None:
    ended.given(*retried).when(report(begun, after=2)).then_refused(Rejected, "attempt 1")


def test_the_policy_counts_anew_after_a_retry() -> None:
    sentence = ended.given(*retried, attempt(2))
    second = StepScheduled(step="crew", turn=3, reason="failure 1 of at most 4: timeout", delay_s=2.0)
    sentence.when(report(failed(2), attempt=2)).then(failed(2), second)


@pytest.mark.parametrize("last", [(), (attempt(1),)])
def test_an_execution_that_timed_out_is_retried_and_its_time_counts_anew(last: tuple[Event, ...]) -> None:
    limited = ExecutionRequested(
        name="run", definition=blog(limits=Limits(timeout_s=900)), inputs={"topic": "tea"}, models={}
    )
    over = ExecutionTimedOut(timeout_s=900)
    sentence = spec.given(limited, StepScheduled(step="crew", turn=1), *last, over)
    sentence.when(RETRY).then(
        ExecutionRetried(timeout_s=900), StepScheduled(step="crew", turn=2, reason="retried")
    )


def test_completed_steps_of_a_failed_execution_stay() -> None:
    sentence = spec.given(
        ExecutionRequested(name="run", definition=diamond(), inputs={}, models={}),
        StepScheduled(step="first", turn=1),
    )
    sentence = run_step(sentence, "first", "one").given(
        StepCompleted(step="first", attempt=1),
        StepScheduled(step="left", turn=1),
        StepScheduled(step="right", turn=1),
        StepStarted(step="left", turn=1, delivery=1, attempt=1, runner="r1"),
        StepFailed(step="left", attempt=1, failure=slow),
        ExecutionFailed(failure=slow, step="left"),
    )
    sentence.when(RETRY).then(
        ExecutionRetried(),
        StepScheduled(step="left", turn=2, reason="retried"),
        StepScheduled(step="right", turn=2, reason="retried"),
    )


def test_what_is_under_way_or_has_ended_otherwise_is_not_retried() -> None:
    open_one = spec.given(requested, StepScheduled(step="crew", turn=1), attempt(1))
    open_one.when(RETRY).then_refused(Rejected, "while running; expected failed or timed_out")
    ended.given(*retried).when(RETRY).then_refused(Rejected, "while pending")
    open_one.given(ExecutionCancelled()).when(RETRY).then_refused(Rejected, "while cancelled")
    whole = open_one.given(*all_tasks, done, ExecutionCompleted(output=TaskOutput("EDIT")))
    whole.when(RETRY).then_refused(Rejected, "while completed")
    spec.when(RETRY).then_refused(NotFound, "no execution 'x'")


@pytest.mark.parametrize("behind", [{}, {"b": crew("b", ("gate",))}])
@pytest.mark.parametrize("concurrency", [None, Concurrency(1)])
def test_what_a_person_refused_is_not_retried_into_a_success(
    behind: dict[str, Step], concurrency: Concurrency | None
) -> None:
    steps = {"a": crew("a"), "gate": gate(("a",)), **behind}
    run = Run(replace(flow(**steps), concurrency=concurrency))
    run.send(AdmitExecution(execution_id="x"))
    run.run("a")
    run.decide("reject")
    assert run.state.status is Status.FAILED
    with pytest.raises(Rejected, match="a person refused"):
        run.send(RETRY)


def test_what_failed_behind_a_rejection_that_leads_somewhere_is_retried() -> None:
    run = Run(flow(a=crew("a"), gate=gate(("a",), on_reject="sorry"), sorry=crew("sorry")))
    run.run("a")
    run.decide("reject")
    start = StartStep(execution_id="x", step="sorry", turn=1, delivery=1, runner="r")
    run.send(start)
    end = StepFailed(step="sorry", attempt=1, failure=slow)
    run.send(RecordProgress(execution_id="x", step="sorry", attempt=1, after=0, entries=(end,)))
    assert run.send(RETRY) == [ExecutionRetried(), StepScheduled(step="sorry", turn=2, reason="retried")]


def test_who_agreed_before_an_execution_failed_and_was_retried_is_asked_again() -> None:
    run = Run(flow(a=crew("a"), gate=gate(("a",), approvals=2), b=crew("b"), c=crew("c", ("gate",))))
    run.run("a")
    run.decide(approver="ada")
    run.send(StartStep(execution_id="x", step="b", turn=1, delivery=1, runner="r"))
    gone = StepFailed(step="b", attempt=1, failure=Failure("model_error", "gone"))
    run.send(RecordProgress(execution_id="x", step="b", attempt=1, after=0, entries=(gone,)))
    run.send(RetryExecution(execution_id="x"))
    with pytest.raises(Rejected, match="'1-gate' is withdrawn already"):
        run.decide(approver="bob")
    run.decide(approval="2-gate", approver="bob")
    assert run.statuses()["gate"] is StepStatus.WAITING
    run.decide(approval="2-gate", approver="ada")
    assert run.statuses()["gate"] is StepStatus.COMPLETED
