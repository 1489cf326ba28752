"""What people answer: one of those who may agrees, refuses, or sends the work back."""

from __future__ import annotations

from domain import graph
from domain.errors import NotFound, Rejected
from domain.execution.approvals import ApprovalGiven, ApprovalRejected, StepResolved, digest_of
from domain.execution.commands import DecideApproval
from domain.execution.events import ExecutionEvents, ExecutionFailed
from domain.execution.rules.asking import shown_outputs, shown_steps
from domain.execution.rules.checks import check_open
from domain.execution.rules.order import after_step
from domain.execution.state import ApprovalState, Execution, StepStatus, evolve
from domain.execution.values import Failure
from domain.steps import Approval


def decide_approval(state: Execution, command: DecideApproval) -> tuple[ExecutionEvents, ...]:
    if state.status is None:
        raise NotFound(f"there is no execution {command.execution_id!r}")
    if (known := state.approvals.get(command.approval_id)) is None:
        raise NotFound(f"execution {command.execution_id!r} has no approval {command.approval_id!r}")
    check_open(state, command)
    approval = state.definition.graph[known.step].approval
    assert approval is not None  # noqa: S101 - only such steps ask
    check_decision(state, command, known, approval)
    if command.decision == "approve":
        return agreed(state, command, known, approval)
    return refused(state, command, known, approval)


def check_decision(
    state: Execution, command: DecideApproval, known: ApprovalState, approval: Approval
) -> None:
    """Raises `Rejected` unless this one may decide this, now, and on what is there."""
    if known.decision:
        raise Rejected(f"DecideApproval is not allowed: {command.approval_id!r} is {known.decision} already")
    if approval.approvers and command.approver not in approval.approvers:
        names = ", ".join(approval.approvers)
        raise Rejected(
            f"{command.approver!r} may not decide {command.approval_id!r}; expected one of: {names}"
        )
    if command.approver in known.given:
        raise Rejected(f"{command.approver!r} has approved {command.approval_id!r} already")
    if command.digest != digest_of(approval.message, shown_outputs(state, known.step)):
        raise Rejected("the digest is not that of what is shown now; look at it again")
    if (approval.require_comment or command.decision == "retry") and not command.comment.strip():
        raise Rejected(f"{command.decision} needs a comment")


def agreed(
    state: Execution, command: DecideApproval, known: ApprovalState, approval: Approval
) -> tuple[ExecutionEvents, ...]:
    """Edits void what others agreed to before: they have seen something else."""
    shown = shown_outputs(state, known.step)
    edits = {task: output for task, output in command.edits.items() if output != shown.get(task)}
    if unknown := edits.keys() - shown.keys():
        raise Rejected(f"{min(unknown)!r} is not shown; expected edits of: {', '.join(shown) or 'nothing'}")
    given = ApprovalGiven(
        step=known.step,
        approval=command.approval_id,
        by=command.approver,
        comment=command.comment,
        edits=edits,
        digest=digest_of(approval.message, {**shown, **edits}) if edits else "",
    )
    after = evolve(state, given)
    if len(after.approvals[command.approval_id].given) < approval.approvals:
        return (given,)
    resolved = StepResolved(step=known.step, approval=command.approval_id)
    return (given, resolved, *after_step(evolve(after, resolved)))


def refused(
    state: Execution, command: DecideApproval, known: ApprovalState, approval: Approval
) -> tuple[ExecutionEvents, ...]:
    is_retry = command.decision == "retry"
    remarked = retried_crews(state, known.step) if is_retry else ()
    rejected = ApprovalRejected(
        step=known.step,
        approval=command.approval_id,
        by=command.approver,
        comment=command.comment,
        then=None if is_retry else approval.on_reject,
        retried=begun_again(state, known.step, remarked) if is_retry else (),
        remarked=remarked,
    )
    after = evolve(state, rejected)
    if is_retry or approval.on_reject is not None:
        return (rejected, *after_step(after))
    return (rejected, rejection_failure(known.step, approval, rejected))


def rejection_failure(step: str, approval: Approval, event: ApprovalRejected) -> ExecutionFailed:
    comment = f": {event.comment}" if event.comment else ""
    message = f"{event.by} rejected {approval.message!r}{comment}"
    return ExecutionFailed(failure=Failure("rejected", message[:4_000]), step=step)


def retried_crews(state: Execution, step: str) -> tuple[str, ...]:
    """The crews whose outputs are shown, maps too: then all items. Raises `Rejected` when there is none."""
    graph = state.definition.graph
    crews = tuple(name for name in shown_steps(state, step) if graph[name].work is not None)
    if not crews:
        raise Rejected("retry is not allowed: no crew is shown that could run again")
    return crews


def begun_again(state: Execution, step: str, crews: tuple[str, ...]) -> tuple[str, ...]:
    """The crews, the approval, what stands between them, and what was skipped behind them: a router among
    these may lead elsewhere now."""
    links = state.definition.links
    behind = {name for name in links if graph.ancestors(links, name) & {*crews}}
    between = graph.ancestors(links, step) & behind
    skipped = {name for name in behind if is_skipped(state, name)}
    chosen = {*crews, step, *between, *skipped}
    return tuple(name for name in state.definition.graph if name in chosen)


def is_skipped(state: Execution, step: str) -> bool:
    return step in state.steps and state.steps[step].status is StepStatus.SKIPPED
