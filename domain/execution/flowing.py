"""How a flow's own events change an execution: routes, approvals, signals, children. Called by `evolve`.

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
from domain.execution.children import ChildEnded, ChildRequested, ChildState, ChildTold
from domain.execution.events import RouteChosen, StepSkipped
from domain.execution.shape import ApprovalState, Execution, MapState, StepState, StepStatus
from domain.execution.values import TaskOutput
from domain.terms import Json

FlowEvents: TypeAlias = (
    StepSkipped
    | RouteChosen
    | ApprovalRequested
    | ApprovalGiven
    | ApprovalRejected
    | SignalReceived
    | StepResolved
    | MapStarted
    | ChildRequested
    | ChildTold
    | ChildEnded
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
            known = state.maps.get(step) or MapState(())
            begun = known if known.begun else replace(known, items=items)
            return with_map(settled(state, step, StepStatus.WAITING), step, begun)
        case ChildRequested() | ChildTold() | ChildEnded():
            return of_child(state, event)
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
    for step in event.retried:
        if step in state.maps:
            state = unmapped(state, step)
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
    if (child := newest_child(state, event.step)) is not None:
        state = with_child(state, child, replace(state.children[child], is_taken=True, failure=event.failure))
    if (base := map_of(state, event.step)) is not None:
        mapped = state.maps[base].with_result(state.definition.item_of(event.step) or 0, event.output)
        return with_map(without_step(state, event.step), base, mapped)
    state = settled(state, event.step, StepStatus.COMPLETED)
    output = gathered(state.maps[event.step]) if event.step in state.maps else event.output
    if output is not None:
        state = replace(state, outputs={**state.outputs, event.step: output})
    if event.signal is not None:
        left = {**state.signals, event.signal: state.signals[event.signal][1:]}
        state = replace(state, signals=left)
    if event.approval is not None:
        known = replace(state.approvals[event.approval], decision="approved")
        state = replace(state, approvals={**state.approvals, event.approval: known})
    return state


def of_child(state: Execution, event: ChildRequested | ChildTold | ChildEnded) -> Execution:
    name = event.child
    match event:
        case ChildRequested():
            state = with_child(state, name, ChildState(event.step, request=event, budget=event.budget))
            return granted(state, name)
        case ChildTold(order="retry", run=run):
            state = with_child(state, name, replace(state.children[name], is_open=True, run=run))
            return granted(state, name)
        case ChildTold():
            return state
        case ChildEnded(run=run, status=status, spent=spent):
            known = state.children[name]
            in_all = known.spent.plus(spent)
            ended = replace(known, is_open=False, request=None, ended=run, status=status, spent=in_all)
            account = state.account
            rest = {child: grant for child, grant in account.granted.items() if child != name}
            state = replace(
                state, account=replace(account, children=account.children.plus(spent), granted=rest)
            )
            return with_child(state, name, ended)


def granted(state: Execution, child: str) -> Execution:
    """What the child may spend beyond what it has spent is reserved for it."""
    account = state.account
    grants = {**account.granted, child: state.children[child].left}
    return replace(state, account=replace(account, granted=grants))


def with_child(state: Execution, name: str, child: ChildState) -> Execution:
    return replace(state, children={**state.children, name: child})


def newest_child(state: Execution, step: str) -> str | None:
    """The child that a step has begun last."""
    return next((name for name in reversed(state.children) if state.children[name].step == step), None)


def map_of(state: Execution, step: str) -> str | None:
    """The map that a step is an item of."""
    base = step.rpartition(ITEM)[0]
    return base if base in state.maps and step != base else None


def with_map(state: Execution, base: str, known: MapState) -> Execution:
    return replace(state, maps={**state.maps, base: known})


def item_begun(state: Execution, base: str) -> Execution:
    known = state.maps[base]
    return with_map(state, base, replace(known, begun=known.begun + 1))


def item_done(state: Execution, base: str, step: str) -> Execution:
    """It is no step any more: what its last task gave, if it came that far, is a result of the map."""
    tasks, number = state.definition.tasks_of(step), state.definition.item_of(step) or 0
    gone, known = state.steps[step], state.maps[base]
    is_through = gone.status is StepStatus.COMPLETED
    known = known.with_result(number, state.outputs[tasks[-1]] if is_through else None)
    known = replace(known, highest=max(known.highest, gone.turn, gone.attempt))
    return with_map(without_step(state, step), base, known)


def without_step(state: Execution, step: str) -> Execution:
    """An item that is no step any more, nor are the outputs of its tasks."""
    tasks = state.definition.tasks_of(step)
    return replace(
        state,
        steps={name: other for name, other in state.steps.items() if name != step},
        outputs={name: output for name, output in state.outputs.items() if name not in tasks},
    )


def unmapped(state: Execution, base: str) -> Execution:
    """A map that was sent back: as if it had not begun, but for the numbers of its items."""
    items = [step for step in state.steps if map_of(state, step) == base]
    numbers = [number for item in items for number in (state.steps[item].turn, state.steps[item].attempt)]
    highest = max((state.maps[base].since, state.maps[base].highest, *numbers))
    for item in items:
        state = without_step(state, item)
    return with_map(state, base, MapState((), since=highest, highest=highest))


def gathered(known: MapState) -> TaskOutput:
    """The items' results as the map's: a list of instances, or texts; null of an item that was left out."""
    values = [value_of(known.result(number)) for number in range(len(known.items))]
    return TaskOutput(msgspec.json.encode(values).decode(), values)


def value_of(output: TaskOutput | None) -> Json:
    return output and (output.text if output.structured is None else output.structured)
