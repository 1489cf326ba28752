"""A child has ended: what it gave goes up, or what became of it, by the step's own policy.

And what goes down: the children of an execution that is paused, goes on or has ended are told so, by an event
each, from which the dispatcher knows whom to tell.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

from domain.amounts import NOTHING
from domain.errors import NotFound
from domain.execution.approvals import StepResolved
from domain.execution.children import ChildEnded, ChildRequested, ChildState, ChildTold, Order, child_of_wait
from domain.execution.commands import ReportChild
from domain.execution.events import (
    ExecutionCancelled,
    ExecutionCompleted,
    ExecutionEvents,
    ExecutionFailed,
    ExecutionPaused,
    ExecutionResumed,
    ExecutionTimedOut,
)
from domain.execution.rules.order import after_end
from domain.execution.rules.raising import tried_again
from domain.execution.rules.spawning import is_awaited
from domain.execution.state import Execution, evolve
from domain.execution.values import Failure, Wait
from domain.message import Event
from domain.steps import ChildWorkflow

ORDERS: dict[type[Event], Order] = {
    ExecutionPaused: "pause",
    ExecutionResumed: "resume",
    ExecutionCompleted: "cancel",
    ExecutionFailed: "cancel",
    ExecutionCancelled: "cancel",
    ExecutionTimedOut: "cancel",
}
"""What an event of the parent has its children do."""


def report_child(state: Execution, command: ReportChild) -> tuple[ExecutionEvents, ...]:
    """Recorded whatever the parent has come to, for what was spent; the step goes on when it still waits."""
    if state.status is None:
        raise NotFound(f"there is no execution {command.execution_id!r}")
    known = state.children.get(command.child)
    if known is None or (known.is_open and command.run < known.run):
        return ()
    added = command.spent.at_least(known.spent).minus(known.spent)
    if not known.is_open and command.run <= known.ended and added == NOTHING:
        return ()
    ended = ChildEnded(
        step=known.step,
        child=command.child,
        status=command.status,
        run=max(command.run, known.ended),
        spent=added,
        failure=command.failure,
    )
    after = evolve(state, ended)
    following = went_on(after, known, command) if is_waiting(state, command.child) else ()
    for event in following:
        after = evolve(after, event)
    freed = known.left if known.is_open else NOTHING
    return (ended, *following, *(tried_again(after, "a child has ended") if freed != NOTHING else ()))


def is_waiting(state: Execution, child: str) -> bool:
    return state.is_open and state.children[child].is_open and is_awaited(state, child)


def went_on(state: Execution, child: ChildState, command: ReportChild) -> tuple[ExecutionEvents, ...]:
    if command.status == "completed":
        resolved = StepResolved(step=child.step, output=command.output)
        return (resolved, *after_end(evolve(state, resolved), child.step))
    node = child_step(state, child.step)
    policy = node.on_cancel if command.status == "cancelled" else node.on_failure
    cause = command.failure.message if command.failure else ""
    message = f"the child of workflow {node.workflow_id!r} {WORDS[command.status]}" + (cause and f": {cause}")
    return by_policy(state, child.step, policy, Failure(f"child_{command.status}", message[:4_000]))


WORDS = {
    "failed": "failed",
    "cancelled": "was cancelled",
    "timed_out": "timed out",
    "refused": "could not be started",
}


def child_step(state: Execution, step: str) -> ChildWorkflow:
    return cast("ChildWorkflow", state.definition.child_of(step))


def by_policy(state: Execution, step: str, policy: str, failure: Failure) -> tuple[ExecutionEvents, ...]:
    match policy:
        case "continue":
            resolved = StepResolved(step=step, failure=failure)
            return (resolved, *after_end(evolve(state, resolved), step))
        case "cancel":
            return (ExecutionCancelled(reason=failure.message[:2_000]),)
        case _:
            return (ExecutionFailed(failure=failure, step=step),)


def overdue(state: Execution, step: str, wait: Wait) -> tuple[ExecutionEvents, ...]:
    """The child has taken too long: it is cancelled, and counts as failed."""
    node, name = child_step(state, step), child_of_wait(wait.id)
    message = f"the child of workflow {node.workflow_id!r} did not end within {wait.for_s:g} s"
    following = by_policy(state, step, node.on_failure, Failure("child_timed_out", message))
    if node.on_failure == "fail":
        return following
    return (ChildTold(step=step, child=name, order="cancel"), *following)


def with_children_told(state: Execution, events: Sequence[ExecutionEvents]) -> tuple[ExecutionEvents, ...]:
    """The events, and what they have the children do that are waited for."""
    order = next((ORDERS[type(event)] for event in reversed(events) if type(event) in ORDERS), None)
    if order is None or not (state.children or any(isinstance(event, ChildRequested) for event in events)):
        return tuple(events)
    for event in events:
        state = evolve(state, event)
    told = (
        ChildTold(step=child.step, child=name, order=order)
        for name, child in state.children.items()
        if child.is_open and is_awaited(state, name)
    )
    return (*events, *told)
