"""Which step comes when: what can begin, what is skipped, and the end when nothing is left.

Used by the rules beside it whenever a step has come to its end. Its one rule: a step is settled when it is
completed or skipped; the same settled steps always lead to the same events, in the document's order.
"""

from __future__ import annotations

from collections.abc import Sequence

from domain.execution.events import (
    ExecutionCompleted,
    ExecutionEvents,
    StepScheduled,
    StepSkipped,
)
from domain.execution.flowing import map_of
from domain.execution.results import missing_context, whole_output
from domain.execution.rules.asking import ask
from domain.execution.rules.delaying import delayed
from domain.execution.rules.mapping import after_item, start_map
from domain.execution.rules.routing import route
from domain.execution.rules.spawning import spawn
from domain.execution.rules.taking import await_signal, signal_name
from domain.execution.state import Execution, StepStatus, evolve


def after_step(state: Execution) -> tuple[ExecutionEvents, ...]:
    """Everything that follows now, to the execution's end when no step is left; nothing while it is held.

    O(steps * depth).
    """
    if state.is_held:
        return ()
    events: list[ExecutionEvents] = []
    steps, choosers = tuple(state.definition.graph), state.definition.choosers
    is_more_settled = True
    while is_more_settled and state.is_open:
        is_more_settled = False
        for step in steps:
            for event in begin(state, step, choosers.get(step, ())):
                state = evolve(state, event)
                events.append(event)
                is_more_settled = is_more_settled or is_settled(state, step)
    if state.is_open and all(is_settled(state, step) for step in steps):
        events.append(ExecutionCompleted(output=whole_output(state)))
    return tuple(events)


def after_end(state: Execution, step: str) -> tuple[ExecutionEvents, ...]:
    """What follows when a step has come to its end: an item of a map lets the next begin, whole steps let
    others begin."""
    if (base := map_of(state, step)) is None:
        return after_step(state)
    following = after_item(state, base)
    for event in following:
        state = evolve(state, event)
    return (*following, *(after_step(state) if following and is_settled(state, base) else ()))


def begin(state: Execution, step: str, routers: Sequence[str]) -> tuple[ExecutionEvents, ...]:
    """The beginning of a step that was not begun; () while it has to wait, or after the execution's end."""
    if is_begun(state, step) or not state.is_open:
        return ()
    match is_reached(state, step, routers):
        case None:
            return ()
        case False:
            return (StepSkipped(step=step),)
    node = state.definition.graph[step]
    if node.router is not None:
        return (route(state, step, node.router),)
    if node.approval is not None:
        return ask(state, step, node.approval)
    if node.map is not None:
        return start_map(state, step, node.map)
    if node.workflow is not None:
        return spawn(state, step, node.workflow)
    if node.wait is not None:
        return (delayed(state, step, node.wait),)
    if (name := signal_name(state.definition, step)) is not None:
        return await_signal(state, step, name)
    turn = state.steps[step].turn + 1 if step in state.steps else 1
    return (StepScheduled(step=step, turn=turn, without=missing_context(state, step)),)


def is_reached(state: Execution, step: str, routers: Sequence[str]) -> bool | None:
    """Whether the step can run (True) or never will (False); None while that is not settled.

    Of the `routers` that name it (approvals too, by `on_reject`), all are settled and one leads here. Of
    `after`: `all` are settled, none rejected and at least one completed; or `any` one is completed.
    """
    node = state.definition.graph[step]
    if not all(is_settled(state, name) for name in routers):
        return None
    if routers and not any(state.steps[name].route == step for name in routers):
        return False
    if not node.predecessors:
        return True
    if not node.is_any and any(is_rejected(state, name) for name in node.predecessors):
        return False
    has_run = any(is_completed(state, name) for name in node.predecessors)
    if all(is_settled(state, name) for name in node.predecessors):
        return has_run
    return True if node.is_any and has_run else None


def is_begun(state: Execution, step: str) -> bool:
    return step in state.steps and state.steps[step].status is not StepStatus.PENDING


def is_rejected(state: Execution, step: str) -> bool:
    return step in state.steps and state.steps[step].status is StepStatus.REJECTED


def is_settled(state: Execution, step: str) -> bool:
    return step in state.steps and state.steps[step].status.is_settled


def is_completed(state: Execution, step: str) -> bool:
    return step in state.steps and state.steps[step].status is StepStatus.COMPLETED
