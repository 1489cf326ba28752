"""The end of an execution's contents. What happened, when, and for how much stays."""

from __future__ import annotations

from domain.errors import NotFound, Rejected
from domain.execution.commands import (
    AdmitExecution,
    ArchiveExecution,
    EndWait,
    EraseExecution,
    ExecutionCommands,
    ReportChild,
    RescheduleStep,
    TimeOutExecution,
)
from domain.execution.events import ExecutionErased, ExecutionEvents
from domain.execution.state import Execution

LATE = (AdmitExecution, EndWait, ReportChild, RescheduleStep, TimeOutExecution)
"""From dispatchers and timers, which may come late: to what has ended they do nothing."""


def erase(state: Execution, command: EraseExecution) -> tuple[ExecutionEvents, ...]:
    """Once. What is under way needs its contents: it is cancelled first, and its children have ended."""
    if state.status is None:
        raise NotFound(f"there is no execution {command.execution_id!r}")
    if state.is_erased:
        return ()
    if not state.status.is_terminal:
        raise Rejected(
            f"EraseExecution is not allowed while {state.status.lower()}; expected one that has ended: "
            "cancel it first"
        )
    if is_open := [name for name, child in state.children.items() if child.is_open]:
        raise Rejected(f"EraseExecution is not allowed: its child {is_open[0]} has not ended")
    return (ExecutionErased(reason=command.reason),)


def decided_when_erased(command: ExecutionCommands) -> tuple[ExecutionEvents, ...]:
    """Of any command but erasing and archiving. Raises `Rejected`."""
    if isinstance(command, LATE):
        return ()
    raise Rejected(f"{type(command).__name__} is not allowed: the execution was erased")


ALLOWED = (EraseExecution, ArchiveExecution)
"""What can still be done to what has lost its contents."""
