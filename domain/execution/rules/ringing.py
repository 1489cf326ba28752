"""The time of a wait has come: a wait step goes on, an approval that nobody decided is
refused, a child that did not end is cancelled."""

from __future__ import annotations

from domain.execution.approvals import ApprovalRejected, StepResolved
from domain.execution.commands import EndWait
from domain.execution.events import ExecutionEvents, ExecutionFailed
from domain.execution.rules.approving import rejection_failure
from domain.execution.rules.joining import overdue
from domain.execution.rules.order import after_step
from domain.execution.state import Execution, StepStatus, evolve
from domain.execution.values import Failure, Wait

BY = "system:timer"


def end_wait(state: Execution, command: EndWait) -> tuple[ExecutionEvents, ...]:
    """() when the wait is over, or is one that does not end by itself: a timer may ring late, and twice."""
    step = state.steps.get(command.step)
    if not state.is_open or step is None or step.status is not StepStatus.WAITING or step.wait is None:
        return ()
    if step.wait.id != command.wait_id or not (step.wait.for_s or step.wait.until):
        return ()
    if step.wait.kind == "approval":
        return undecided(state, command.step, step.wait)
    if step.wait.kind == "child":
        return overdue(state, command.step, step.wait)
    resolved = StepResolved(step=command.step)
    return (resolved, *after_step(evolve(state, resolved)))


def undecided(state: Execution, step: str, wait: Wait) -> tuple[ExecutionEvents, ...]:
    approval = state.definition.graph[step].approval
    assert approval is not None  # noqa: S101 - only such steps wait so
    message = f"nobody decided {approval.message!r} within {wait.for_s:g} s"
    if approval.on_timeout == "fail":
        failure = Failure("approval_timed_out", message[:4_000])
        return (ExecutionFailed(failure=failure, step=step),)
    rejected = ApprovalRejected(
        step=step, approval=wait.id, by=BY, comment=message[:4_000], then=approval.on_reject
    )
    if approval.on_reject is not None:
        return (rejected, *after_step(evolve(state, rejected)))
    return (rejected, rejection_failure(step, approval, rejected))
