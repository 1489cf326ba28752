"""Wait steps, and approvals that nobody decides in time."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from domain.checks import definition_faults
from domain.definition import Delay, Step
from domain.execution import (
    ApprovalRejected,
    CancelExecution,
    ExecutionFailed,
    Status,
    StepResolved,
    StepScheduled,
    StepSkipped,
    StepSuspended,
    Wait,
)
from tests.domain.flows import CATALOG, Run, crew, flow, gate


def delay(after: tuple[str, ...] = (), **fields: Any) -> Step:
    return Step(wait=Delay(**fields), after=after)


def test_a_wait_step_waits_its_time_and_goes_on() -> None:
    run = Run(flow(rest=delay(for_s=3600), a=crew("a", ("rest",))))
    assert run.events[-1] == StepSuspended(step="rest", attempt=0, wait=Wait("timer", "1-rest", for_s=3600))
    assert run.state.status is Status.WAITING
    assert run.ring("rest", "1-rest") == [StepResolved(step="rest"), StepScheduled(step="a", turn=1)]


@pytest.mark.parametrize("until", ["'2027-01-02T03:04:05Z'", "'2027-01-02T04:04:05+01:00'"])
def test_it_can_wait_until_a_moment(until: str) -> None:
    run = Run(flow(rest=delay(until=until), a=crew("a", ("rest",))))
    assert isinstance(suspended := run.events[-1], StepSuspended)
    assert suspended.wait.until == datetime(2027, 1, 2, 3, 4, 5, tzinfo=UTC)


@pytest.mark.parametrize("until", ["'tomorrow'", "'2027-01-02T03:04:05'"])
def test_what_is_no_moment_fails_the_execution(until: str) -> None:
    run = Run(flow(rest=delay(until=until), a=crew("a", ("rest",))))
    assert isinstance(failed := run.events[-1], ExecutionFailed)
    assert failed.failure.code == "condition_failed"


def test_a_timer_that_rings_again_or_for_something_else_changes_nothing() -> None:
    run = Run(flow(rest=delay(for_s=1), a=crew("a", ("rest",)), b=crew("b")))
    assert run.ring("rest", "2-rest") == run.ring("b", "1-rest") == run.ring("nobody", "x") == []
    run.ring("rest", "1-rest")
    assert run.ring("rest", "1-rest") == []
    run.send(CancelExecution(execution_id="x"))
    assert run.ring("rest", "1-rest") == []


def asked(**fields: Any) -> Run:
    run = Run(
        flow(
            draft=crew("draft"),
            gate=gate(("draft",), timeout_s=60, **fields),
            publish=crew("publish", ("gate",)),
            sorry=crew("sorry"),
        )
    )
    run.run("draft")
    return run


def test_an_approval_that_nobody_decides_in_time_counts_as_rejected() -> None:
    rejected, *rest = asked(on_reject="sorry").ring("gate", "1-gate")
    assert isinstance(rejected, ApprovalRejected)
    assert (rejected.by, rejected.comment) == ("system:timer", "nobody decided 'Send this?' within 60 s")
    assert rest == [StepSkipped(step="publish"), StepScheduled(step="sorry", turn=1)]
    assert isinstance(failed := asked().ring("gate", "1-gate")[-1], ExecutionFailed)
    assert failed.failure.code == "rejected"


def test_or_fails_the_execution() -> None:
    [failed] = asked(on_reject="sorry", on_timeout="fail").ring("gate", "1-gate")
    assert isinstance(failed, ExecutionFailed)
    assert failed.failure.code == "approval_timed_out"


def test_one_that_is_decided_does_not_time_out() -> None:
    run = asked()
    run.decide()
    assert run.ring("gate", "1-gate") == []


def test_one_that_is_asked_again_has_its_time_again() -> None:
    run = asked()
    run.decide("retry", comment="again")
    run.run("draft")
    assert run.ring("gate", "1-gate") == []
    assert isinstance(run.ring("gate", "2-gate")[-1], ExecutionFailed)


@pytest.mark.parametrize(
    ("fields", "at", "says"),
    [
        ({}, "/steps/rest/wait", "either for_s or until"),
        ({"for_s": 1, "until": "'x'"}, "/steps/rest/wait", "either for_s or until"),
        ({"until": "inputs.vip"}, "/steps/rest/wait/until", "gives true or false; expected a text"),
        ({"until": "inputs.when"}, "/steps/rest/wait/until", "unknown field 'inputs.when'"),
    ],
)
def test_a_fault_of_a_wait_names_its_field(fields: dict[str, Any], at: str, says: str) -> None:
    faults = definition_faults(flow(rest=delay(**fields), a=crew("a")), CATALOG)
    assert says in {fault.pointer: fault.message for fault in faults}[at]
