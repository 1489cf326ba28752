"""How a flow's own events change an execution: routes, skips, approvals, signals. Called by `evolve`.

Its one rule: it holds no rule; numbers of turns and attempts survive everything, because they are never used
again.
"""

from __future__ import annotations

from typing import TypeAlias, assert_never

import msgspec
from msgspec.structs import replace

from domain.definition import ITEM
from domain.execution.approvals import (
    ApprovalGiven,
    ApprovalRejected,
    ApprovalRequested,
    MapStarted,
    SignalReceived,
    StepResolved,
)
from domain.execution.events import RouteChosen, StepSkipped
from domain.execution.shape import ApprovalState, Execution, MapState, StepState, StepStatus
from domain.execution.values import TaskOutput

FlowEvents: TypeAlias = (
    StepSkipped
    | RouteChosen
    | ApprovalRequested
    | ApprovalGiven
    | ApprovalRejected
    | SignalReceived
    | StepResolved
    | MapStarted
)


def flowed(state: Execution, event: FlowEvents) -> Execution:
    match event:
        case StepSkipped(step=step):
            return settled(state, step, StepStatus.SKIPPED)
        case RouteChosen(step=step, then=then):
            return settled(state, step, StepStatus.COMPLETED, route=then)
        case ApprovalRequested(step=step, approval=approval):
            return replace(state, approvals={**state.approvals, approval: ApprovalState(step)})
        case ApprovalGiven():
            return given(state, event)
        case ApprovalRejected():
            return rejected(state, event)
        case SignalReceived(name=name, payload=payload):
            kept = (*state.signals.get(name, ()), payload)
            return replace(state, signals={**state.signals, name: kept})
        case StepResolved():
            return resolved(state, event)
        case MapStarted(step=step, items=items):
            state = settled(state, step, StepStatus.WAITING)
            return replace(state, maps={**state.maps, step: state.maps.get(step) or MapState(items)})
        case _:
            assert_never(event)


def settled(state: Execution, step: str, status: StepStatus, *, route: str = "") -> Execution:
    before = state.steps.get(step) or StepState(status, turn=0)
    now = replace(before, status=status, wait=None, route=route)
    return replace(state, steps={**state.steps, step: now})


def given(state: Execution, event: ApprovalGiven) -> Execution:
    """Edits void what others agreed to before."""
    known = state.approvals[event.approval]
    names = (event.by,) if event.edits else (*known.given, event.by)
    answer = {"decision": "approved", "by": event.by, "comment": event.comment}
    approvals = {**state.approvals, event.approval: replace(known, given=names, answer=answer)}
    return replace(state, approvals=approvals, outputs={**state.outputs, **event.edits})


def rejected(state: Execution, event: ApprovalRejected) -> Execution:
    word = "sent back" if event.retried else "rejected"
    answer = {"decision": "rejected", "by": event.by, "comment": event.comment}
    known = replace(state.approvals[event.approval], decision=word, answer=answer)
    state = replace(state, approvals={**state.approvals, event.approval: known})
    if event.retried:
        return sent_back(state, event)
    return settled(state, event.step, StepStatus.REJECTED, route=event.then or "")


def sent_back(state: Execution, event: ApprovalRejected) -> Execution:
    """The steps are as if they had not begun, but for their numbers; what they gave is forgotten."""
    steps, remarks = dict(state.steps), dict(state.remarks)
    for step in event.retried:
        if step in steps:
            steps[step] = replace(steps[step], status=StepStatus.PENDING, wait=None, route="", without=())
    for step in event.remarked:
        remarks[step] = (*remarks.get(step, ()), event.comment)
    gone = {task for step in event.retried for task in (*state.definition.tasks_of(step), step)}
    outputs = {name: output for name, output in state.outputs.items() if name not in gone}
    return replace(state, steps=steps, remarks=remarks, outputs=outputs)


def resolved(state: Execution, event: StepResolved) -> Execution:
    state = settled(state, event.step, StepStatus.COMPLETED)
    if event.output is not None:
        state = replace(state, outputs={**state.outputs, event.step: event.output})
    if event.step in state.maps:
        state = gathered(state, event.step)
    if event.signal is not None:
        left = {**state.signals, event.signal: state.signals[event.signal][1:]}
        state = replace(state, signals=left)
    if event.approval is not None:
        known = replace(state.approvals[event.approval], decision="approved")
        state = replace(state, approvals={**state.approvals, event.approval: known})
    return state


def map_of(state: Execution, step: str) -> str | None:
    """The map that a step is an item of."""
    base = step.rpartition(ITEM)[0]
    return base if base in state.maps and step != base else None


def item_begun(state: Execution, base: str) -> Execution:
    known = state.maps[base]
    return replace(state, maps={**state.maps, base: replace(known, begun=known.begun + 1)})


def item_done(state: Execution, base: str, step: str) -> Execution:
    """It is no step any more: what it gave is an output."""
    known = state.maps[base]
    steps = {name: other for name, other in state.steps.items() if name != step}
    return replace(state, steps=steps, maps={**state.maps, base: replace(known, done=known.done + 1)})


def gathered(state: Execution, step: str) -> Execution:
    """The items' outputs become the map's: a list of instances, or texts."""
    tasks = state.definition.tasks_of(step)
    count, outputs = len(state.maps[step].items), dict(state.outputs)
    last = [outputs[f"{tasks[-1]}{ITEM}{number}"] for number in range(count)]
    for number in range(count):
        for task in tasks:
            outputs.pop(f"{task}{ITEM}{number}", None)
    values = [output.text if output.structured is None else output.structured for output in last]
    outputs[step] = TaskOutput(msgspec.json.encode(values).decode(), values)
    return replace(state, outputs=outputs)
