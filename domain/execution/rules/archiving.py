"""An execution that has ended leaves the read tables, and then nothing happens to it any more."""

from __future__ import annotations

from domain.errors import NotFound, Rejected
from domain.execution.archiving import ExecutionArchived
from domain.execution.commands import ArchiveExecution, ExecutionCommands
from domain.execution.events import ExecutionEvents
from domain.execution.rules.erasing import ALLOWED, LATE
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


def unless_archived(
    state: Execution, command: ExecutionCommands, events: tuple[ExecutionEvents, ...]
) -> tuple[ExecutionEvents, ...]:
    """The events; none of what comes late to one that is archived. Raises `Rejected` for other wishes."""
    if state.archived is None or not events or isinstance(command, ALLOWED):
        return events
    if isinstance(command, LATE):
        return ()
    raise Rejected(f"{type(command).__name__} is not allowed while archived")
