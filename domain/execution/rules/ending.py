"""Ends that come from outside."""

from __future__ import annotations

from domain.execution.commands import CancelExecution
from domain.execution.events import ExecutionCancelled, ExecutionEvents
from domain.execution.rules.checks import check_open
from domain.execution.state import Execution, Status


def cancel(state: Execution, command: CancelExecution) -> tuple[ExecutionEvents, ...]:
    if state.status is Status.CANCELLED:
        return ()
    check_open(state, command)
    return (ExecutionCancelled(reason=command.reason),)
