"""A person answers what a step waits for: how a call came out, or whether a task's output will do.

The step goes on with the last answer that it waits for; a runner begins it again with the journal.
"""

from __future__ import annotations

from typing import Literal

from domain.errors import Rejected
from domain.execution.answers import CallSettled, TaskReviewed
from domain.execution.commands import ReviewTask, SettleCall
from domain.execution.events import ExecutionEvents, ExecutionFailed
from domain.execution.rules.checks import check_open
from domain.execution.rules.suspending import again
from domain.execution.state import Execution
from domain.execution.values import Failure


def settle_call(state: Execution, command: SettleCall) -> tuple[ExecutionEvents, ...]:
    check_open(state, command)
    step = waiting_step(state, command, "unknown_outcome", command.call)
    settled = CallSettled(
        step=step,
        call=command.call,
        outcome=command.outcome,
        result=command.result,
        message=command.message,
    )
    if command.outcome == "failed":
        reason = command.message or f"call {command.call!r} was said to have failed"
        return (settled, ExecutionFailed(failure=Failure("call_failed", reason), step=step))
    wait = state.steps[step].wait
    if wait is not None and wait.others:
        return (settled,)
    return (settled, again(state, step, "call settled"))


def review_task(state: Execution, command: ReviewTask) -> tuple[ExecutionEvents, ...]:
    check_open(state, command)
    step = waiting_step(state, command, "human_input", command.review)
    reviewed = TaskReviewed(
        step=step,
        task=command.review.partition(":")[0],
        review=command.review,
        is_approved=command.is_approved,
        feedback=command.feedback,
    )
    return (reviewed, again(state, step, "task reviewed"))


def waiting_step(
    state: Execution,
    command: SettleCall | ReviewTask,
    kind: Literal["unknown_outcome", "human_input"],
    asked: str,
) -> str:
    """The step that waits for this answer. Raises `Rejected` when none does (any more)."""
    for name, step in state.steps.items():
        if step.wait and step.wait.kind == kind and asked in (step.wait.id, *step.wait.others):
            return name
    raise Rejected(f"{type(command).__name__} is not allowed: no step waits for an answer to {asked!r}")
