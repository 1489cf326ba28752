"""The planted ticket triage, which is the document of the design, on every way that its own fields allow."""

from __future__ import annotations

from typing import Any

import pytest

from application.commands import CommandHandler
from domain.catalog import CATALOG, KINDS, catalog_of
from domain.errors import Rejected
from domain.execution import (
    ApprovalRejected,
    ApprovalRequested,
    ExecutionCompleted,
    ExecutionFailed,
    RouteChosen,
    StepResolved,
    StepScheduled,
    StepSkipped,
    StepSuspended,
)
from domain.workflow import WORKFLOW
from infrastructure.clock import SystemClock
from infrastructure.event_log.memory import MemoryEventLog
from seeds.planting import Seeds
from tests.domain.flows import Run
from tests.seeds.test_planting import TOOLS

LEAD = "lead@example.com"
TRIAGE = {"category": "billing", "priority": "normal", "summary": "wrong invoice"}


@pytest.fixture
async def run() -> Run:
    commands = CommandHandler(MemoryEventLog(), SystemClock())
    await Seeds(commands, TOOLS).plant()
    workflow = await commands.state_of(WORKFLOW, "ticket-triage")
    shelves = {kind: await commands.state_of(CATALOG, kind) for kind in KINDS}
    return Run(workflow.definitions[-1][1], catalog=catalog_of(shelves))


def judged(run: Run, risk_score: float) -> Any:
    """What follows when the ticket is filed and its risk known."""
    run.run("triage", task="classify", **TRIAGE)
    return run.run("risk", task="assess", risk_score=risk_score, risk_level="low", reasons=["none"])


def test_a_high_risk_goes_to_the_risk_team_and_asks_nobody(run: Run) -> None:
    route, *skipped, alarm = judged(run, 0.8)
    assert isinstance(route, RouteChosen)
    assert (route.then, route.seen) == ("alarm", {"risk.risk_score": 0.8})
    assert skipped == [StepSkipped(step="gate"), StepSkipped(step="answer")]
    assert alarm == StepScheduled(step="alarm", turn=1)
    assert isinstance(run.run("alarm", task="escalate")[-1], ExecutionCompleted)


def test_a_low_risk_asks_the_lead_for_an_hour(run: Run) -> None:
    route, asked, waits, skipped = judged(run, 0.79)
    assert isinstance(route, RouteChosen)
    assert isinstance(asked, ApprovalRequested)
    assert isinstance(waits, StepSuspended)
    assert (route.then, asked.message, asked.approvers) == ("gate", "Send this answer?", (LEAD,))
    assert [shown.step for shown in asked.shown] == ["triage", "risk"]
    assert (waits.wait.kind, waits.wait.for_s) == ("approval", 3600)
    assert skipped == StepSkipped(step="alarm")


def test_what_the_lead_approves_is_answered(run: Run) -> None:
    judged(run, 0.1)
    with pytest.raises(Rejected, match="may not decide"):
        run.decide(approver="clerk@example.com", comment="fine")
    with pytest.raises(Rejected, match="needs a comment"):
        run.decide(approver=LEAD)
    _, resolved, answer = run.decide(approver=LEAD, comment="fine")
    assert isinstance(resolved, StepResolved)
    assert answer == StepScheduled(step="answer", turn=1)
    assert isinstance(run.run("answer", task="reply")[-1], ExecutionCompleted)


def test_what_the_lead_rejects_fails(run: Run) -> None:
    judged(run, 0.1)
    failed = run.decide("reject", approver=LEAD, comment="not so")[-1]
    assert isinstance(failed, ExecutionFailed)
    assert (failed.failure.code, failed.step) == ("rejected", "gate")


def test_what_nobody_decides_within_the_hour_counts_as_rejected(run: Run) -> None:
    judged(run, 0.1)
    rejected, failed = run.ring("gate", "1-gate")
    assert isinstance(rejected, ApprovalRejected)
    assert isinstance(failed, ExecutionFailed)
    assert (rejected.by, failed.failure.code) == ("system:timer", "rejected")
    assert "within 3600 s" in failed.failure.message


def test_what_the_lead_sends_back_is_judged_again(run: Run) -> None:
    judged(run, 0.1)
    _, *again = run.decide("retry", approver=LEAD, comment="look again")
    assert again == [StepScheduled(step="triage", turn=2), StepScheduled(step="risk", turn=2)]
    assert isinstance(judged(run, 0.9)[-1], StepScheduled)
    assert isinstance(run.run("alarm", task="escalate")[-1], ExecutionCompleted)
