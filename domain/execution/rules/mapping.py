"""A map: the same tasks over every item of a list, so many at once.

Used by `order` and `reporting`. An item is a step of its own (`enrich--3`), claimed, fenced and journaled
like any other, or that waits for a child; when it is through only its output stays, so that the last item
costs what the first did.
"""

from __future__ import annotations

from collections.abc import Iterable

import msgspec

from domain.conditions import evaluate, parse
from domain.definition import ITEM
from domain.errors import ConditionError
from domain.execution.approvals import MapStarted, StepResolved
from domain.execution.events import ExecutionEvents, ExecutionFailed, StepScheduled
from domain.execution.flowing import map_of
from domain.execution.results import missing_context, names_of
from domain.execution.rules.routing import failed
from domain.execution.rules.spawning import spawn
from domain.execution.state import Execution, evolve
from domain.steps import Map
from domain.terms import Json

MAX_ITEMS = 10_000
MAX_CHILDREN = 1_000
MAX_ITEMS_BYTES = 128 * 1024


def start_map(state: Execution, step: str, mapped: Map) -> tuple[ExecutionEvents, ...]:
    """The list is pinned, and the first items begin; an empty list is through at once."""
    if step in state.maps and state.maps[step].begun:
        return going_on(state, step)
    seen: dict[str, Json] = {}
    try:
        items = evaluate(parse(mapped.over), names_of(state), seen).value
    except ConditionError as error:
        return (failed(step, "condition_failed", f"{mapped.over!r} can not be worked out: {error}", seen),)
    if (refusal := refused(step, mapped, items, seen)) is not None:
        return (refusal,)
    assert isinstance(items, list | tuple)  # noqa: S101 - refused otherwise
    started = MapStarted(step=step, items=tuple(items))
    if not items:
        return (started, StepResolved(step=step))
    first = range(min(mapped.max_parallel, len(items)))
    return (started, *begun(evolve(state, started), step, first))


def begun(state: Execution, step: str, numbers: Iterable[int]) -> tuple[ExecutionEvents, ...]:
    """Items begin: with a runner, or with a child each."""
    node = state.definition.graph[step].child
    if node is None:
        return tuple(scheduled(state, step, number) for number in numbers)
    events: list[ExecutionEvents] = []
    for number in numbers:
        for event in spawn(state, f"{step}{ITEM}{number}", node) if state.is_open else ():
            state = evolve(state, event)
            events.append(event)
    return tuple(events)


def is_left_out(state: Execution, step: str) -> bool:
    """Whether the execution goes on when the step fails: an item of a map that says so."""
    mapped = state.definition.graph[base].map if (base := map_of(state, step)) else None
    return mapped is not None and mapped.on_failure == "continue"


def going_on(state: Execution, step: str) -> tuple[ExecutionEvents, ...]:
    """After the execution was retried: items that are through stay, those that were begun begin again."""
    started = MapStarted(step=step)
    if state.definition.graph[step].child is not None:
        items = [item for item in state.steps if map_of(state, item) == step]
        numbers = sorted(state.definition.item_of(item) or 0 for item in items)
        return (started, *begun(evolve(state, started), step, numbers))
    again = [
        StepScheduled(step=item, turn=known.turn + 1, reason="retried", without=known.without)
        for item, known in state.steps.items()
        if map_of(state, item) == step
    ]
    return (started, *again)


def refused(step: str, mapped: Map, items: Json, seen: dict[str, Json]) -> ExecutionFailed | None:
    if not isinstance(items, list | tuple):
        return failed(step, "condition_failed", f"{mapped.over!r} gave no list", seen)
    size = len(msgspec.json.encode(items))
    limit = MAX_ITEMS if mapped.workflow is None else MAX_CHILDREN
    if len(items) > limit or size > MAX_ITEMS_BYTES:
        most = f"expected at most {limit} in {MAX_ITEMS_BYTES} bytes"
        return failed(step, "map_too_large", f"{step!r} has {len(items)} items in {size} bytes; {most}", {})
    return None


def after_item(state: Execution, step: str) -> tuple[ExecutionEvents, ...]:
    """An item is through: the next begins, or the map is. Costs the same for each."""
    known = state.maps[step]
    if known.begun < len(known.items):
        return begun(state, step, (known.begun,))
    return (StepResolved(step=step),) if known.done == len(known.items) else ()


def scheduled(state: Execution, step: str, number: int) -> StepScheduled:
    item = f"{step}{ITEM}{number}"
    since = state.maps[step].since if step in state.maps else 0
    return StepScheduled(step=item, turn=since + 1, without=missing_context(state, item))
