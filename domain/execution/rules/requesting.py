"""The beginning: an execution is requested once."""

from __future__ import annotations

from domain.errors import Rejected
from domain.execution.commands import RequestExecution
from domain.execution.events import ExecutionEvents, ExecutionRequested
from domain.execution.rules.order import scheduled
from domain.execution.state import Execution, evolve


def request(state: Execution, command: RequestExecution) -> tuple[ExecutionEvents, ...]:
    if state.status is not None:
        raise Rejected(f"RequestExecution is not allowed: {command.execution_id!r} exists already")
    requested = ExecutionRequested(
        name=command.name,
        definition=command.definition,
        inputs=command.inputs,
        models=command.models,
        default_model=command.default_model,
        workflow_id=command.workflow_id,
        workflow_version=command.workflow_version,
    )
    return (requested, *scheduled(evolve(state, requested)))
