"""The beginning: an execution is requested once; a fork begins with what it has taken over."""

from __future__ import annotations

from domain.errors import Rejected
from domain.execution.commands import RequestExecution
from domain.execution.events import ExecutionEvents, ExecutionRequested
from domain.execution.rules.placing import go_on
from domain.execution.state import Execution, evolve


def request(state: Execution, command: RequestExecution) -> tuple[ExecutionEvents, ...]:
    if state.status is not None:
        raise Rejected(f"RequestExecution is not allowed: {command.execution_id!r} exists already")
    for name, step in command.definition.graph.items():
        if step.child is not None and name not in command.children:
            raise Rejected(f"RequestExecution is not allowed: no version is pinned for step {name!r}")
    requested = ExecutionRequested(
        name=command.name,
        definition=command.definition,
        inputs=command.inputs,
        models=command.models,
        default_model=command.default_model,
        workflow_id=command.workflow_id,
        workflow_version=command.workflow_version,
        forked_from=command.forked_from,
        queue=command.definition.queue if command.queue is None else command.queue,
        priority=command.definition.priority if command.priority is None else command.priority,
        parent=command.parent,
        children=command.children,
    )
    begun = evolve(state, requested)
    for event in command.taken_over:
        begun = evolve(begun, event)
    return (requested, *command.taken_over, *go_on(begun))
