"""Messages from outside: kept until a step waits for one, then taken, the oldest first."""

from __future__ import annotations

from domain.errors import NotFound, Rejected
from domain.execution.approvals import SignalReceived
from domain.execution.commands import SendSignal
from domain.execution.events import ExecutionEvents
from domain.execution.rules.checks import check_open
from domain.execution.rules.order import after_step
from domain.execution.rules.taking import resolved_by, signal_name
from domain.execution.state import Execution, StepStatus, evolve

MAX_KEPT = 100
"""Signals of one name that wait for a step."""


def send_signal(state: Execution, command: SendSignal) -> tuple[ExecutionEvents, ...]:
    check_open(state, command)
    names = {name for step in state.definition.graph if (name := signal_name(state.definition, step))}
    if command.name not in names:
        known = ", ".join(sorted(names)) or "it waits for none"
        raise NotFound(
            f"execution {command.execution_id!r} has no signal {command.name!r}; expected: {known}"
        )
    if len(state.signals.get(command.name, ())) >= MAX_KEPT:
        raise Rejected(f"SendSignal is not allowed: {MAX_KEPT} signals {command.name!r} are kept already")
    received = SignalReceived(name=command.name, payload=command.payload, by=command.by)
    state = evolve(state, received)
    step = waiting_step(state, command.name)
    if step is None:
        return (received,)
    resolved = resolved_by(state, step, command.name)
    return (received, resolved, *after_step(evolve(state, resolved)))


def waiting_step(state: Execution, name: str) -> str | None:
    """The first, in the document's order, that waits for the signal."""
    return next(
        (
            step
            for step in state.definition.graph
            if signal_name(state.definition, step) == name
            and step in state.steps
            and state.steps[step].status is StepStatus.WAITING
        ),
        None,
    )
