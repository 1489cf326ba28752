"""Child workflows, as their parent decides: wanted, waited for, gone on with; cancel, pause and retry."""

from __future__ import annotations

from typing import Any

import pytest
from msgspec.structs import replace

from domain.amounts import Amounts
from domain.errors import Rejected
from domain.execution import (
    EXECUTION,
    CancelExecution,
    ChildEnded,
    ChildRequested,
    ChildTold,
    ExecutionCancelled,
    ExecutionCompleted,
    ExecutionFailed,
    ExecutionPaused,
    ExecutionResumed,
    ExecutionRetried,
    Failure,
    ForkedFrom,
    PauseExecution,
    PinnedChild,
    RequestExecution,
    ResumeExecution,
    RetryExecution,
    RouteChosen,
    Status,
    StepResolved,
    StepReused,
    StepScheduled,
    StepSuspended,
    TaskOutput,
    TaskReused,
    TimeOutExecution,
    Wait,
)
from domain.execution.past import past_of
from domain.execution.results import value_of
from domain.message import Event
from tests.domain.flows import Run, child, crew, flow, gate, router

WAITS = "waits for a child of workflow 'blog'"


def waiting(name: str = "1-sub", step: str = "sub", **more: Any) -> StepSuspended:
    return StepSuspended(step=step, attempt=0, wait=Wait("child", name, WAITS, **more))


def wanted(name: str = "1-sub", step: str = "sub", **more: Any) -> ChildRequested:
    return ChildRequested(step=step, child=name, workflow_id="blog", workflow_version=1, **more)


def told(order: Any, name: str = "1-sub", step: str = "sub", run: int = 0) -> ChildTold:
    return ChildTold(step=step, child=name, order=order, run=run)


def test_a_workflow_step_wants_a_child_and_waits() -> None:
    run = Run(flow(risk=crew("risk"), sub=child(("risk",), inputs={"n": "risk.score", "k": 3})))
    assert run.run("risk", score=0.5) == [wanted(inputs={"n": 0.5, "k": 3}), waiting()]
    assert run.state.status is Status.WAITING


def test_its_output_goes_up_and_later_steps_see_it() -> None:
    route = router(("sub.level == 'high'", "a"), otherwise="b", after=("sub",))
    run = Run(flow(sub=child(), route=route, a=crew("a"), b=crew("b")))
    output = TaskOutput("{}", {"level": "high"})
    assert run.ended("1-sub", output=output)[:3] == [
        ChildEnded(step="sub", child="1-sub", status="completed"),
        StepResolved(step="sub", output=output),
        RouteChosen(step="route", then="a", when="sub.level == 'high'", seen={"sub.level": "high"}),
    ]


def test_a_text_is_seen_as_that_of_a_crew() -> None:
    run = Run(flow(sub=child(), a=crew("a", ("sub",))))
    run.ended("1-sub", output=TaskOutput("hello"))
    assert value_of(run.state, "sub") == {"text": "hello"}


def test_it_is_the_output_of_the_whole_where_no_step_comes_after_it() -> None:
    run = Run(flow(a=crew("a"), sub=child(("a",))))
    run.run("a")
    assert run.ended("1-sub", output=TaskOutput("hello"))[-1] == ExecutionCompleted(
        output=TaskOutput("hello")
    )


def test_an_end_that_is_reported_again_changes_nothing() -> None:
    run = Run(flow(sub=child(), a=crew("a", ("sub",))))
    run.ended("1-sub", output=TaskOutput("hello"))
    assert run.ended("1-sub", output=TaskOutput("hello")) == run.ended("9-other") == []


@pytest.mark.parametrize("status", ["failed", "timed_out", "refused"])
def test_a_failure_goes_up(status: str) -> None:
    run = Run(flow(sub=child(), a=crew("a", ("sub",))))
    ended, failed = run.ended("1-sub", status, failure=Failure("boom", "it broke"))
    assert isinstance(failed, ExecutionFailed)
    assert failed.failure.code == f"child_{status}"
    assert failed.failure.message.endswith("it broke")
    assert ended == ChildEnded(step="sub", child="1-sub", status=status, failure=Failure("boom", "it broke"))  # type: ignore[arg-type]


def test_or_the_flow_goes_on_and_conditions_see_why() -> None:
    route = router(("has(sub.failed)", "a"), otherwise="b", after=("sub",))
    run = Run(flow(sub=child(on_failure="continue"), route=route, a=crew("a"), b=crew("b")))
    events = run.ended("1-sub", "failed", failure=Failure("boom", "it broke"))
    assert isinstance(resolved := events[1], StepResolved)
    assert resolved.failure == Failure("child_failed", "the child of workflow 'blog' failed: it broke")
    assert isinstance(chosen := events[2], RouteChosen)
    assert chosen.then == "a"
    assert "sub" not in run.state.outputs


@pytest.mark.parametrize(
    ("policy", "end"),
    [("fail", ExecutionFailed), ("cancel", ExecutionCancelled), ("continue", StepResolved)],
)
def test_a_child_that_somebody_cancels_goes_up_by_policy(policy: str, end: type[Event]) -> None:
    run = Run(flow(sub=child(on_cancel=policy, on_failure="continue"), a=crew("a", ("sub",))))
    assert isinstance(run.ended("1-sub", "cancelled")[1], end)


@pytest.mark.parametrize(
    "end", [CancelExecution(execution_id="x", reason="enough"), TimeOutExecution(execution_id="x", spent_s=9)]
)
def test_the_end_of_the_parent_goes_down(end: Any) -> None:
    document = flow(sub=child(), other=child(), a=crew("a"))
    run = Run(replace(document, limits=replace(document.limits, timeout_s=5)))
    assert run.send(end)[1:] == [told("cancel"), told("cancel", "1-other", "other")]


def test_so_does_a_failure_beside_it() -> None:
    run = Run(flow(sub=child(), other=child(), a=crew("a", ("sub",))))
    assert run.ended("1-other", "failed")[-1] == told("cancel")


def test_a_child_that_is_wanted_when_its_execution_fails_is_cancelled() -> None:
    wrong = router(("1 / 0 == 1", "a"))
    events = Run(flow(sub=child(), route=wrong, a=crew("a"))).events
    assert [type(event) for event in events[1:]] == [
        ChildRequested,
        StepSuspended,
        ExecutionFailed,
        ChildTold,
    ]


def test_pausing_goes_down_and_resuming() -> None:
    run = Run(flow(sub=child(), a=crew("a", ("sub",))))
    assert run.send(PauseExecution(execution_id="x")) == [ExecutionPaused(), told("pause")]
    assert run.send(ResumeExecution(execution_id="x")) == [ExecutionResumed(), told("resume")]
    assert run.state.status is Status.WAITING


def test_a_child_that_its_parent_paused_is_resumed_by_it_alone() -> None:
    run = Run(flow(a=crew("a")))
    run.send(PauseExecution(execution_id="x", by_parent=True))
    with pytest.raises(Rejected, match="its parent is paused"):
        run.send(ResumeExecution(execution_id="x"))
    assert run.send(ResumeExecution(execution_id="x", by_parent=True))[0] == ExecutionResumed()


def test_a_child_that_a_person_paused_stays_so() -> None:
    run = Run(flow(a=crew("a")))
    run.send(PauseExecution(execution_id="x"))
    assert run.send(PauseExecution(execution_id="x", by_parent=True)) == []
    assert run.send(ResumeExecution(execution_id="x", by_parent=True)) == []


def test_a_child_that_ends_late_is_recorded_for_what_it_spent() -> None:
    run = Run(flow(sub=child(), a=crew("a", ("sub",))))
    run.send(CancelExecution(execution_id="x"))
    spent = Amounts(nano_usd=5, tokens=7)
    assert run.ended("1-sub", "cancelled", spent=spent) == [
        ChildEnded(step="sub", child="1-sub", status="cancelled", spent=spent)
    ]
    assert run.state.account.committed == spent


def test_a_retry_has_the_child_go_on_that_had_failed() -> None:
    run = Run(flow(sub=child(), a=crew("a", ("sub",))))
    run.ended("1-sub", "failed", spent=Amounts(tokens=7))
    assert run.send(RetryExecution(execution_id="x")) == [
        ExecutionRetried(),
        told("retry", run=1),
        waiting("1-sub.1"),
    ]
    assert run.ended("1-sub", "failed", spent=Amounts(tokens=7)) == []
    ended = run.ended("1-sub", run=1, output=TaskOutput("now"), spent=Amounts(tokens=9))
    assert ended[:2] == [
        ChildEnded(step="sub", child="1-sub", status="completed", run=1, spent=Amounts(tokens=2)),
        StepResolved(step="sub", output=TaskOutput("now")),
    ]
    assert run.state.account.committed == Amounts(tokens=9)


def test_a_child_that_somebody_retried_meanwhile_is_gone_on_with() -> None:
    run = Run(flow(sub=child(), a=crew("a", ("sub",))))
    run.ended("1-sub", "failed")
    assert run.ended("1-sub", run=1, output=TaskOutput("now")) == [
        ChildEnded(step="sub", child="1-sub", status="completed", run=1)
    ]
    assert run.send(RetryExecution(execution_id="x"))[1] == told("retry", run=1)
    assert run.ended("1-sub", run=1, output=TaskOutput("now"))[1] == StepResolved(
        step="sub", output=TaskOutput("now")
    )


@pytest.mark.parametrize("status", ["cancelled", "refused"])
def test_after_any_other_end_a_retry_begins_a_new_child(status: str) -> None:
    run = Run(flow(sub=child(), a=crew("a", ("sub",))))
    run.ended("1-sub", status)
    assert run.send(RetryExecution(execution_id="x"))[1:] == [wanted("2-sub"), waiting("2-sub")]
    assert run.ended("1-sub", status) == []


def test_a_child_that_was_told_to_cancel_is_not_taken_up_again() -> None:
    run = Run(flow(sub=child(), other=child(), a=crew("a", ("sub",))))
    run.ended("1-other", "failed")
    run.send(RetryExecution(execution_id="x"))
    assert "2-sub" in run.state.children
    assert run.ended("1-sub", "cancelled") == [ChildEnded(step="sub", child="1-sub", status="cancelled")]
    assert run.state.status is Status.WAITING


def test_a_retry_of_a_certain_run_happens_once() -> None:
    run = Run(flow(sub=child(), a=crew("a", ("sub",))))
    run.ended("1-sub", "failed")
    assert run.send(RetryExecution(execution_id="x", run=1))
    run.ended("1-sub", "failed", run=1)
    assert run.send(RetryExecution(execution_id="x", run=1)) == []


def test_a_child_that_takes_too_long_is_cancelled_and_has_failed() -> None:
    run = Run(flow(sub=child(timeout_s=60), a=crew("a", ("sub",))))
    assert run.events[-1] == waiting(for_s=60)
    failed, cancelled = run.ring("sub", "1-sub")
    assert isinstance(failed, ExecutionFailed)
    assert failed.failure == Failure(
        "child_timed_out", "the child of workflow 'blog' did not end within 60 s"
    )
    assert cancelled == told("cancel")


def test_or_the_flow_goes_on_without_it() -> None:
    run = Run(flow(sub=child(timeout_s=60, on_failure="continue"), a=crew("a", ("sub",))))
    assert [type(event) for event in run.ring("sub", "1-sub")] == [ChildTold, StepResolved, StepScheduled]
    assert run.ring("sub", "1-sub") == []
    assert len(run.ended("1-sub", "cancelled")) == 1


def test_inputs_that_can_not_be_worked_out_fail_the_execution() -> None:
    run = Run(flow(risk=crew("risk"), sub=child(("risk",), inputs={"n": "1 / risk.score"})))
    assert isinstance(failed := run.run("risk", score=0)[-1], ExecutionFailed)
    assert failed.failure.code == "condition_failed"


def test_an_output_of_which_only_the_beginning_is_known_is_no_input() -> None:
    run = Run(flow(a=crew("a"), gate=gate(("a",)), sub=child(("gate",), inputs={"t": "a.text"})))
    run.run("a")
    cut = TaskOutput("begin", digest="d", size_bytes=99_999)
    run.state = replace(run.state, outputs={"a": cut})
    assert isinstance(failed := run.decide()[-1], ExecutionFailed)
    assert failed.failure.code == "input_cut"


def test_a_request_that_pins_no_version_is_refused() -> None:
    document = flow(sub=child(), a=crew("a", ("sub",)))
    request = RequestExecution(execution_id="x", name="x", definition=document, inputs={}, models={})
    with pytest.raises(Rejected, match="no version is pinned for step 'sub'"):
        EXECUTION.decide(EXECUTION.initial, request)


def test_a_fork_has_what_a_child_gave_and_does_not_begin_it_again() -> None:
    document = flow(sub=child(), other=child(), a=crew("a", ("sub", "other")))
    run = Run(document)
    run.ended("1-sub", output=TaskOutput("hello"))
    past = past_of("x", run.events)  # type: ignore[arg-type]
    fork = RequestExecution(
        execution_id="y",
        name="y",
        definition=document,
        inputs={},
        models={},
        forked_from=ForkedFrom("x", len(run.events)),
        taken_over=past.taken_over(),
        children={"sub": PinnedChild(1), "other": PinnedChild(1)},
    )
    assert EXECUTION.decide(EXECUTION.initial, fork)[1:] == (
        TaskReused(step="sub", task="sub", output=TaskOutput("hello")),
        StepReused(step="sub"),
        wanted("1-other", "other"),
        waiting("1-other", "other"),
    )
