"""Where and when an execution runs: its queue and priority, and its slot where its document limits them.

An execution with a concurrency limit is held when it is requested: nothing of it is scheduled before it is
admitted. It keeps its slot until it ends, also while it waits or is paused.
"""

from __future__ import annotations

from hashlib import sha256

import msgspec
from msgspec.structs import replace

from domain.definition import PLACEHOLDER, Json
from domain.execution.admission import ExecutionAdmitted, ExecutionHeld
from domain.execution.commands import AdmitExecution
from domain.execution.events import (
    ExecutionCompleted,
    ExecutionEvents,
    ExecutionFailed,
    ExecutionRequested,
    StepScheduled,
)
from domain.execution.rules.order import after_step
from domain.execution.state import Execution, evolve


def go_on(state: Execution) -> tuple[ExecutionEvents, ...]:
    """What follows from where an execution is: it is held, or its steps are scheduled."""
    following = after_step(state)
    limit = state.definition.concurrency
    is_over = any(isinstance(event, ExecutionCompleted | ExecutionFailed) for event in following)
    if limit is None or state.request is None or is_over:
        return following
    key = rendered(limit.key or "", state.request.inputs)
    held = ExecutionHeld(
        slots_id=slots_id(state.request, key), key=key, limit=limit.limit, priority=state.request.priority
    )
    return (held,)


def admit(state: Execution, _: AdmitExecution) -> tuple[ExecutionEvents, ...]:
    """One that was admitted before, or has ended, stays as it is."""
    if not state.is_open or not state.is_held:
        return ()
    admitted = ExecutionAdmitted()
    return (admitted, *after_step(evolve(state, admitted)))


def placed(state: Execution, events: tuple[ExecutionEvents, ...]) -> tuple[ExecutionEvents, ...]:
    """The events, each scheduled step with the queue and priority of its execution."""
    first = events[0] if events else None
    request = first if isinstance(first, ExecutionRequested) else state.request
    if request is None or (request.queue, request.priority) == ("default", 5):
        return events
    return tuple(
        replace(event, queue=request.queue, priority=request.priority)
        if isinstance(event, StepScheduled)
        else event
        for event in events
    )


def rendered(key: str, inputs: dict[str, Json]) -> str:
    """The key with its inputs filled in, as in prompts."""

    def value(name: str) -> str:
        given = inputs.get(name)
        return given if isinstance(given, str) else msgspec.json.encode(given, order="sorted").decode()

    return PLACEHOLDER.sub(lambda match: value(match[1]), key)


def slots_id(request: ExecutionRequested, key: str) -> str:
    """Of a workflow and key; documents that are saved nowhere share theirs by their name."""
    whose = request.workflow_id or f"inline {request.definition.name}"
    return sha256(f"{whose}\n{key}".encode()).hexdigest()[:32]
