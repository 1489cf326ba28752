"""What more than one rule asks of the state before anything else. Raises `NotFound` or `Rejected`."""

from __future__ import annotations

from domain.errors import NotFound, Rejected
from domain.execution.commands import ExecutionCommand, StepCommand
from domain.execution.state import Execution, StepState


def check_open(state: Execution, command: ExecutionCommand) -> None:
    if state.status is None:
        raise NotFound(f"there is no execution {command.execution_id!r}")
    if state.status.is_terminal:
        raise Rejected(f"{type(command).__name__} is not allowed while {state.status.lower()}")


def known_step(state: Execution, command: StepCommand) -> StepState:
    if state.status is None:
        raise NotFound(f"there is no execution {command.execution_id!r}")
    if (step := state.steps.get(command.step)) is None:
        raise Rejected(f"{type(command).__name__} is not allowed: step {command.step!r} is not scheduled")
    return step
