"""An execution that has ended leaves the read tables, and then nothing happens to it any more."""

from __future__ import annotations

from domain.errors import NotFound, Rejected
from domain.execution.archiving import ExecutionArchived
from domain.execution.commands import ArchiveExecution, EraseExecution, ExecutionCommands
from domain.execution.events import ExecutionEvents
from domain.execution.state import Execution


def archive(state: Execution, command: ArchiveExecution) -> tuple[ExecutionEvents, ...]:
    """One that was only dropped may still be written to files; files are never put in place of files."""
    if state.status is None:
        raise NotFound(f"there is no execution {command.execution_id!r}")
    if not state.status.is_terminal:
        message = f"ArchiveExecution is not allowed while {state.status.lower()}"
        raise Rejected(f"{message}; expected an execution that has ended")
    if going := [name for name, child in state.children.items() if child.is_open]:
        raise Rejected(f"ArchiveExecution is not allowed: its child {going[0]!r} is not known to have ended")
    if state.archived is None or (command.files and not state.archived.files):
        return (ExecutionArchived(place=command.place, files=command.files),)
    if command.files and command.files != state.archived.files:
        raise Rejected(f"ArchiveExecution is not allowed: it is archived already, in {state.archived.place}")
    return ()


def check_not_archived(state: Execution, command: ExecutionCommands) -> None:
    """Before anything but its erasure is recorded of it. Raises `Rejected`."""
    if state.archived is not None and not isinstance(command, ArchiveExecution | EraseExecution):
        raise Rejected(f"{type(command).__name__} is not allowed while archived")
