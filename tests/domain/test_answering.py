"""What people answer to a step that waits: how a call came out, whether an output will do."""

from __future__ import annotations

import pytest

from domain.errors import NotFound, Rejected
from domain.execution import (
    CallSettled,
    Content,
    ExecutionCancelled,
    ExecutionFailed,
    ExecutionPaused,
    Failure,
    ReviewTask,
    SettleCall,
    Status,
    StepScheduled,
    StepSuspended,
    TaskReviewed,
    Wait,
)
from tests.domain.test_execution import running, spec

RESULT = Content("d", 4, "done")
doubt = Wait(kind="unknown_outcome", id="c1", message="Did this happen?", others=("c2",))
doubting = running.given(StepSuspended(step="crew", attempt=1, wait=doubt))
review = Wait(kind="human_input", id="draft:review:1", message="A draft")
reviewing = running.given(StepSuspended(step="crew", attempt=1, wait=review))
happened = CallSettled(step="crew", call="c1", outcome="happened", result=RESULT)
absent = CallSettled(step="crew", call="c2", outcome="did_not_happen")
goes_on = StepScheduled(step="crew", turn=2, reason="call settled")


def settle(call: str, outcome: str = "did_not_happen", **rest: object) -> SettleCall:
    return SettleCall(execution_id="x", call=call, outcome=outcome, **rest)  # type: ignore[arg-type]


def say(review: str = "draft:review:1", *, approved: bool = True, feedback: str = "") -> ReviewTask:
    return ReviewTask(execution_id="x", review=review, is_approved=approved, feedback=feedback)


def test_a_step_goes_on_when_all_its_calls_are_settled() -> None:
    doubting.when(settle("c1", "happened", result=RESULT)).then(happened)
    doubting.given(happened).when(settle("c2")).then(absent, goes_on)
    assert doubting.given(happened).state().status is Status.WAITING
    assert doubting.given(happened, absent, goes_on).state().status is Status.PENDING
    assert doubting.given(happened, absent, goes_on).state().steps["crew"].wait is None


def test_a_call_is_settled_once() -> None:
    doubting.given(happened).when(settle("c1")).then_refused(Rejected, "no step waits for an answer to 'c1'")
    doubting.given(happened, absent, goes_on).when(settle("c2")).then_refused(Rejected, "no step waits")


def test_giving_up_fails_the_execution() -> None:
    failed = CallSettled(step="crew", call="c1", outcome="failed", message="nobody knows")
    end = ExecutionFailed(failure=Failure("call_failed", "nobody knows"), step="crew")
    doubting.when(settle("c1", "failed", message="nobody knows")).then(failed, end)


@pytest.mark.parametrize(("approved", "feedback"), [(True, ""), (False, "Shorter")])
def test_a_reviewed_step_goes_on(approved: bool, feedback: str) -> None:
    said = TaskReviewed(
        step="crew", task="draft", review="draft:review:1", is_approved=approved, feedback=feedback
    )
    again = StepScheduled(step="crew", turn=2, reason="task reviewed")
    reviewing.when(say(approved=approved, feedback=feedback)).then(said, again)
    reviewing.given(said, again).when(say()).then_refused(Rejected, "no step waits")


def test_an_answer_names_what_is_waited_for() -> None:
    running.when(settle("c1")).then_refused(Rejected, "no step waits")
    reviewing.when(settle("draft:review:1")).then_refused(Rejected, "no step waits")
    reviewing.when(say("draft:review:2")).then_refused(Rejected, "no step waits")
    doubting.when(say("c1")).then_refused(Rejected, "no step waits")


def test_nothing_is_answered_to_what_has_ended_or_never_was() -> None:
    doubting.given(ExecutionCancelled()).when(settle("c1")).then_refused(Rejected, "while cancelled")
    reviewing.given(ExecutionCancelled()).when(say()).then_refused(Rejected, "while cancelled")
    spec.when(settle("c1")).then_refused(NotFound, "no execution")


def test_a_paused_execution_takes_answers_and_goes_on_when_it_is_resumed() -> None:
    paused = doubting.given(ExecutionPaused(), happened)
    paused.when(settle("c2")).then(absent, goes_on)
    assert paused.given(absent, goes_on).state().status is Status.PAUSED
