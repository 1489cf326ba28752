"""Approvals: who may decide, on what, and where the flow goes then."""

from __future__ import annotations

import msgspec
import pytest

from domain.checks import definition_faults
from domain.definition import Definition, Step
from domain.errors import NotFound, Rejected
from domain.execution import (
    ApprovalGiven,
    ApprovalRejected,
    ApprovalRequested,
    CancelExecution,
    ExecutionCompleted,
    ExecutionFailed,
    RouteChosen,
    Shown,
    Status,
    StepResolved,
    StepScheduled,
    StepSkipped,
    StepStatus,
    StepSuspended,
    TaskOutput,
    Wait,
)
from domain.execution.approvals import digest_of
from domain.execution.rules.asking import cut_output
from tests.domain.flows import CATALOG, Run, crew, flow, gate, router

DONE = TaskOutput("draft done")
EDITED = TaskOutput("a better draft")


def asking(**fields: object) -> Definition:
    return flow(draft=crew("draft"), gate=gate(("draft",), **fields), publish=crew("publish", ("gate",)))


def asked(**fields: object) -> Run:
    """An execution that waits for its approval."""
    run = Run(asking(**fields))
    run.run("draft")
    return run


def test_an_approval_shows_the_output_before_it_and_waits_without_a_runner() -> None:
    run = Run(asking(approvers=("lead",), require_comment=True))
    requested, suspended = run.run("draft")
    assert requested == ApprovalRequested(
        step="gate",
        approval="1-gate",
        message="Send this?",
        digest=digest_of("Send this?", {"draft": DONE}),
        shown=(Shown("draft", "draft", DONE),),
        approvers=("lead",),
        require_comment=True,
    )
    assert suspended == StepSuspended(step="gate", attempt=0, wait=Wait("approval", "1-gate", "Send this?"))
    assert run.state.status is Status.WAITING


def test_what_is_approved_goes_on() -> None:
    run = asked()
    assert run.decide(comment="good") == [
        ApprovalGiven(step="gate", approval="1-gate", by="lead", comment="good"),
        StepResolved(step="gate", approval="1-gate"),
        StepScheduled(step="publish", turn=1),
    ]
    assert run.state.status is Status.PENDING
    assert run.run("publish") == [ExecutionCompleted(output=TaskOutput("publish done"))]


def test_of_two_decisions_the_second_is_refused() -> None:
    run = asked()
    run.decide()
    for decision in ("approve", "reject", "retry"):
        with pytest.raises(Rejected, match="'1-gate' is approved already"):
            run.decide(decision, approver="other", comment="c")


def test_a_decision_on_something_else_than_what_is_shown_is_refused() -> None:
    with pytest.raises(Rejected, match="the digest is not that of what is shown now"):
        asked().decide(digest="0" * 64)


def test_only_an_approver_decides() -> None:
    run = asked(approvers=("boss", "deputy"))
    with pytest.raises(Rejected, match="'lead' may not decide '1-gate'; expected one of: boss, deputy"):
        run.decide()
    assert run.decide(approver="deputy")[0] == ApprovalGiven(step="gate", approval="1-gate", by="deputy")


@pytest.mark.parametrize("decision", ["approve", "reject"])
def test_a_comment_can_be_required(decision: str) -> None:
    with pytest.raises(Rejected, match="needs a comment"):
        asked(require_comment=True).decide(decision, comment=" ")


def test_a_quorum_needs_as_many_different_people() -> None:
    run = asked(approvals=2)
    assert len(run.decide(approver="a")) == 1
    with pytest.raises(Rejected, match="'a' has approved '1-gate' already"):
        run.decide(approver="a")
    assert run.state.status is Status.WAITING
    assert [type(event) for event in run.decide(approver="b")] == [ApprovalGiven, StepResolved, StepScheduled]


def test_one_who_rejects_is_enough_in_a_quorum() -> None:
    run = asked(approvals=2)
    run.decide(approver="a")
    assert isinstance(run.decide("reject", approver="b")[-1], ExecutionFailed)


def test_an_edited_output_goes_on_and_the_original_stays_in_the_history() -> None:
    run = asked()
    given, *_ = run.decide(edits={"draft": EDITED})
    assert given == ApprovalGiven(
        step="gate",
        approval="1-gate",
        by="lead",
        edits={"draft": EDITED},
        digest=digest_of("Send this?", {"draft": EDITED}),
    )
    assert run.state.outputs["draft"] == EDITED
    assert any(getattr(event, "output", None) == DONE for event in run.events)


def test_an_edit_voids_what_others_approved_before() -> None:
    run = asked(approvals=2)
    run.decide(approver="a")
    assert len(run.decide(approver="b", edits={"draft": EDITED})) == 1
    with pytest.raises(Rejected, match="digest"):
        run.decide(approver="a", digest=digest_of("Send this?", {"draft": DONE}))
    assert isinstance(run.decide(approver="a")[1], StepResolved)


def test_only_what_is_shown_can_be_edited() -> None:
    with pytest.raises(Rejected, match="'other' is not shown; expected edits of: draft"):
        asked().decide(edits={"other": EDITED})


def test_a_rejection_fails_the_execution_with_its_reason() -> None:
    rejected, failed = asked().decide("reject", comment="too long")
    assert rejected == ApprovalRejected(step="gate", approval="1-gate", by="lead", comment="too long")
    assert isinstance(failed, ExecutionFailed)
    assert (failed.failure.code, failed.step) == ("rejected", "gate")
    assert failed.failure.message == "lead rejected 'Send this?': too long"


def handled() -> Definition:
    return flow(
        draft=crew("draft"),
        gate=gate(("draft",), on_reject="sorry"),
        publish=crew("publish", ("gate",)),
        sorry=crew("sorry"),
        log=crew("log", ("publish", "sorry")),
    )


def test_a_rejection_can_be_followed_by_a_step_and_what_waits_for_the_approval_is_skipped() -> None:
    run = Run(handled())
    run.run("draft")
    assert run.decide("reject")[1:] == [StepSkipped(step="publish"), StepScheduled(step="sorry", turn=1)]
    assert run.run("sorry") == [StepScheduled(step="log", turn=1)]


def test_the_step_of_a_rejection_is_skipped_after_an_approval() -> None:
    run = Run(handled())
    run.run("draft")
    assert run.decide()[2:] == [StepScheduled(step="publish", turn=1), StepSkipped(step="sorry")]


def test_a_join_of_all_does_not_run_past_a_rejection() -> None:
    run = Run(
        flow(
            draft=crew("draft"),
            other=crew("other"),
            gate=gate(("draft",), on_reject="sorry"),
            sorry=crew("sorry"),
            both=crew("both", ("gate", "other")),
        )
    )
    run.run("draft")
    run.run("other")
    run.decide("reject")
    assert run.statuses()["both"] is StepStatus.SKIPPED


def test_what_is_sent_back_runs_again_with_the_comment_and_is_asked_again() -> None:
    run = asked()
    assert run.decide("retry", comment="shorter") == [
        ApprovalRejected(
            step="gate",
            approval="1-gate",
            by="lead",
            comment="shorter",
            retried=("draft", "gate"),
            remarked=("draft",),
        ),
        StepScheduled(step="draft", turn=2),
    ]
    assert run.state.remarks == {"draft": ("shorter",)}
    requested, _ = run.run("draft")
    assert isinstance(requested, ApprovalRequested)
    assert requested.approval == "2-gate"
    assert run.state.steps["draft"].attempt == 2
    with pytest.raises(Rejected, match="'1-gate' is sent back already"):
        run.decide()
    assert run.decide(approval="2-gate")[-1] == StepScheduled(step="publish", turn=1)


def test_sending_back_needs_a_comment_and_a_crew() -> None:
    with pytest.raises(Rejected, match="retry needs a comment"):
        asked().decide("retry")
    run = Run(flow(gate=gate(), a=crew("a", ("gate",))))
    with pytest.raises(Rejected, match="no crew is shown"):
        run.decide("retry", comment="x")


def test_a_router_between_may_lead_elsewhere_after_work_was_sent_back() -> None:
    run = Run(
        flow(
            risk=crew("risk"),
            route=router(("risk.score > 0.5", "alarm"), otherwise="gate", after=("risk",)),
            gate=gate(),
            answer=crew("answer", ("gate",)),
            alarm=crew("alarm"),
        )
    )
    run.run("risk", score=0.1)
    run.decide("retry", comment="look again")
    assert run.run("risk", score=0.9)[:3] == [
        RouteChosen(step="route", then="alarm", when="risk.score > 0.5", seen={"risk.score": 0.9}),
        StepSkipped(step="gate"),
        StepSkipped(step="answer"),
    ]
    assert run.run("alarm") == [ExecutionCompleted(output=TaskOutput("alarm done"))]


def test_a_condition_sees_what_was_decided() -> None:
    run = Run(
        flow(
            draft=crew("draft"),
            gate=gate(("draft",)),
            route=router(("gate.by == 'lead' && gate.comment == 'ok'", "a"), otherwise="b", after=("gate",)),
            a=crew("a"),
            b=crew("b"),
        )
    )
    run.run("draft")
    assert StepScheduled(step="a", turn=1) in run.decide(comment="ok")


def test_a_waiting_execution_can_be_cancelled_and_then_takes_no_decision() -> None:
    run = asked()
    run.send(CancelExecution(execution_id="x"))
    with pytest.raises(Rejected, match="while cancelled"):
        run.decide()


def test_what_was_never_asked_is_not_there() -> None:
    with pytest.raises(NotFound, match="no approval '7-gate'"):
        asked().decide(approval="7-gate")


def test_a_large_output_is_shown_in_part() -> None:
    large = TaskOutput("ü" * 100_000, {"text": "y" * 100_000})
    shown, is_cut = cut_output(large, 10_000)
    assert is_cut
    assert len(msgspec.json.encode(shown)) <= 10_000
    assert large.text.startswith(shown.text)
    assert cut_output(DONE, 10_000) == (DONE, False)


@pytest.mark.parametrize(
    ("step", "at", "says"),
    [
        (gate(on_reject="x"), "/steps/gate/approval/on_reject", "unknown step 'x'"),
        (gate(show=("x",)), "/steps/gate/approval/show/0", "unknown step 'x'"),
        (gate(show=("a",)), "/steps/gate/approval/show/0", "gives no output before 'gate'"),
        (gate(approvers=("b",), approvals=2), "/steps/gate/approval/approvals", "at most 1"),
    ],
)
def test_a_fault_of_an_approval_names_its_field(step: Step, at: str, says: str) -> None:
    faults = definition_faults(flow(gate=step, a=crew("a")), CATALOG)
    assert says in {fault.pointer: fault.message for fault in faults}[at]
