"""How each event changes an execution. `evolve` holds no rule."""

from __future__ import annotations

from collections.abc import Iterable
from typing import assert_never

from msgspec.structs import replace

from domain.execution.admission import ExecutionAdmitted, ExecutionHeld
from domain.execution.answers import CallSettled, TaskReviewed
from domain.execution.archiving import ExecutionArchived
from domain.execution.budget import booked
from domain.execution.calls import (
    CallReused,
    ModelCallCompleted,
    ModelCallFailed,
    ModelCallStarted,
    ToolCallCompleted,
    ToolCallFailed,
    ToolCallStarted,
)
from domain.execution.events import (
    BudgetRaised,
    ExecutionCancelled,
    ExecutionCompleted,
    ExecutionErased,
    ExecutionEvents,
    ExecutionFailed,
    ExecutionPaused,
    ExecutionRequested,
    ExecutionResumed,
    ExecutionRetried,
    ExecutionTimedOut,
    StepCompleted,
    StepFailed,
    StepReleased,
    StepReused,
    StepScheduled,
    StepStarted,
    StepSuspended,
    TaskCompleted,
    TaskFailed,
    TaskReused,
    TaskStarted,
)
from domain.execution.flowing import FlowEvents, flowed, item_begun, item_done, map_of
from domain.execution.sealing import skeleton
from domain.execution.shape import ApprovalState, Execution, Lease, Status, StepState, StepStatus
from domain.message import Event

ENDS: dict[type[Event], Status] = {
    ExecutionCompleted: Status.COMPLETED,
    ExecutionFailed: Status.FAILED,
    ExecutionCancelled: Status.CANCELLED,
    ExecutionTimedOut: Status.TIMED_OUT,
}


def evolved(state: Execution, events: Iterable[ExecutionEvents]) -> Execution:
    for event in events:
        state = evolve(state, event)
    return state


def evolve(state: Execution, event: ExecutionEvents) -> Execution:
    match event:  # what comes in every execution first: a class is tried after another
        case ExecutionRequested():
            remarks = event.forked_from.remarks if event.forked_from else {}
            return Execution(Status.PENDING, event, remarks=remarks)
        case StepScheduled() | StepStarted() | StepSuspended() | StepReleased():
            return moved(state, event)
        case ModelCallStarted() | ModelCallCompleted() | ModelCallFailed() | ToolCallStarted():
            return recorded(replace(state, account=booked(state.account, event)), event.step)
        case TaskStarted() | TaskFailed() | ToolCallCompleted() | ToolCallFailed():
            return recorded(state, event.step)
        case TaskCompleted():
            outputs = {**state.outputs, event.task: event.output}
            return recorded(replace(state, outputs=outputs), event.step)
        case StepCompleted():
            booking = replace(state, account=booked(state.account, event))
            return at_rest(completed(booking, event.step))
        case ExecutionCompleted() | ExecutionFailed() | ExecutionCancelled() | ExecutionTimedOut():
            return replace(state, status=ENDS[type(event)], end=event)
        case BudgetRaised():
            return replace(state, raised=event.budget, raised_per_day=event.per_day or state.raised_per_day)
        case CallReused():
            return recorded(state, event.step) if event.attempt else state
        case TaskReused():
            return replace(state, outputs={**state.outputs, event.task: event.output})
        case StepReused():
            return with_step(state, event.step, StepState(StepStatus.COMPLETED, turn=0))
        case _ if isinstance(event, FlowEvents):
            return at_rest(flowed(state, event))
        case StepFailed():
            return at_rest(failed(replace(state, account=booked(state.account, event)), event))
        case ExecutionPaused():
            steps = {name: let_go(step, StepStatus.SCHEDULED) for name, step in state.steps.items()}
            by_parent = event.by_parent
            return replace(state, status=Status.PAUSED, steps=steps, is_paused_by_parent=by_parent)
        case ExecutionResumed():
            return at_rest(replace(state, status=Status.PENDING, is_paused_by_parent=False))
        case ExecutionRetried():
            return retried(state)
        case ExecutionHeld() | ExecutionAdmitted():
            return replace(state, is_held=isinstance(event, ExecutionHeld))
        case CallSettled() | TaskReviewed():
            return answered(state, event)
        case ExecutionArchived():
            return replace(state, archived=event)
        case ExecutionErased():
            return erased(state)
        case _:
            assert_never(event)


def erased(state: Execution) -> Execution:
    """What happened, without what was said."""
    request = state.request and replace(
        state.request, name="", inputs={}, definition=skeleton(state.request.definition)
    )
    return Execution(
        state.status, request, state.steps, is_erased=True, account=state.account, archived=state.archived
    )


def answered(state: Execution, event: CallSettled | TaskReviewed) -> Execution:
    """A call less is asked about. After a review the step is scheduled again by an event of its own."""
    step = state.steps[event.step]
    if isinstance(event, TaskReviewed) or step.wait is None:
        return state
    return with_step(state, event.step, replace(step, wait=step.wait.without(event.call)))


def moved(state: Execution, event: StepScheduled | StepStarted | StepSuspended | StepReleased) -> Execution:
    """A step went from one hand to another."""
    base = map_of(state, event.step)
    new = StepState(StepStatus.WAITING, turn=0, attempt=state.maps[base].since if base else 0)
    before = state.steps.get(event.step) or new
    match event:
        case StepScheduled():
            status = state.status if state.status in (Status.RUNNING, Status.PAUSED) else Status.PENDING
            if base is not None and event.step not in state.steps:
                state = item_begun(state, base)
            return with_step(replace(state, status=status), event.step, scheduled(before, event))
        case StepStarted():
            return with_step(replace(state, status=Status.RUNNING), event.step, started(before, event))
        case StepSuspended(wait=wait, refused=refused):
            if base is not None and event.step not in state.steps:
                state = item_begun(state, base)
            step = replace(
                let_go(before, StepStatus.WAITING),
                status=StepStatus.WAITING,
                wait=wait,
                recorded=before.recorded + (refused or 1),
                refused_at=before.recorded if refused else None,
            )
            return at_rest(with_step(state, event.step, step))
        case StepReleased():
            return with_step(state, event.step, replace(before, draining=None))


def scheduled(step: StepState, event: StepScheduled) -> StepState:
    """Attempts count on only where a runner may have vanished; what the step sees stays."""
    return replace(
        step,
        status=StepStatus.SCHEDULED,
        turn=event.turn,
        delivery=0,
        runner="",
        begun=step.begun if step.status.is_active else 0,
        without=event.without if step.status is StepStatus.PENDING or not step.turn else step.without,
        wait=None,
    )


def started(step: StepState, event: StepStarted) -> StepState:
    return StepState(
        StepStatus.RUNNING,
        event.turn,
        event.delivery,
        event.attempt,
        event.runner,
        without=step.without,
        begun=step.begun + 1,
        failures=step.failures,
    )


def let_go(step: StepState, status: StepStatus) -> StepState:
    """A step that a runner has: told to let go, in this status from now on. Another stays as it is."""
    if step.status is not StepStatus.RUNNING:
        return step
    return replace(step, status=status, draining=step.lease, begun=0)


def completed(state: Execution, step: str) -> Execution:
    state = recorded(state, step, StepStatus.COMPLETED)
    base = map_of(state, step)
    return item_done(state, base, step) if base is not None else state


def recorded(state: Execution, name: str, status: StepStatus | None = None) -> Execution:
    """One more entry of the step's current attempt."""
    step = state.steps[name]
    return with_step(state, name, replace(step, status=status or step.status, recorded=step.recorded + 1))


def failed(state: Execution, event: StepFailed) -> Execution:
    step = state.steps[event.step]
    new = replace(step, status=StepStatus.FAILED, recorded=step.recorded + 1, failures=step.failures + 1)
    state = with_step(state, event.step, new)
    base = map_of(state, event.step) if event.is_left_out else None
    return item_done(state, base, event.step) if base is not None else state


def retried(state: Execution) -> Execution:
    """People are asked anew, under other ids: what some of them had agreed to before counts no more."""
    steps = {name: sent_back(step) for name, step in state.steps.items()}
    approvals = {
        name: known if known.decision else replace(known, decision="withdrawn")
        for name, known in state.approvals.items()
    }
    return replace(
        state,
        status=Status.PENDING,
        steps=steps,
        approvals=approvals,
        retries=state.retries + 1,
        end=None,
    )


def sent_back(step: StepState) -> StepState:
    """Of an execution that is retried: what had not come to its end is as if it had not begun."""
    if step.status.is_settled:
        return step
    return replace(step, status=StepStatus.PENDING, runner="", wait=None, draining=None, begun=0, failures=0)


def at_rest(state: Execution) -> Execution:
    """WAITING when nothing is under way and something waits."""
    statuses = [step.status for step in state.steps.values()]
    is_waiting = StepStatus.WAITING in statuses and not any(status.is_active for status in statuses)
    if not is_waiting or state.status is Status.PAUSED or not state.is_open:
        return state
    return replace(state, status=Status.WAITING)


def with_step(state: Execution, name: str, step: StepState) -> Execution:
    return replace(state, steps={**state.steps, name: step})


__all__ = ["ApprovalState", "Execution", "Lease", "Status", "StepState", "StepStatus", "evolve"]
