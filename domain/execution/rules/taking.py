"""A signal step that begins: it takes what was kept for it, or waits.

Used by `order` and `signalling`.
"""

from __future__ import annotations

import msgspec

from domain.definition import Definition
from domain.execution.approvals import StepResolved
from domain.execution.events import ExecutionEvents, StepSuspended
from domain.execution.state import Execution
from domain.execution.values import TaskOutput, Wait
from domain.terms import Json


def await_signal(state: Execution, step: str, name: str) -> tuple[ExecutionEvents, ...]:
    if state.signals.get(name):
        return (resolved_by(state, step, name),)
    return (StepSuspended(step=step, attempt=0, wait=Wait("signal", name, f"waits for signal {name!r}")),)


def resolved_by(state: Execution, step: str, name: str) -> StepResolved:
    """The step takes the oldest signal of the name; there is one."""
    return StepResolved(step=step, output=output_of_value(state.signals[name][0]), signal=name)


def signal_name(definition: Definition, step: str) -> str | None:
    """What a step waits for; None of another kind of step."""
    signal = definition.graph[step].signal
    return None if signal is None else signal.name or step


def output_of_value(value: Json) -> TaskOutput:
    """A value as a step's output: a text as it is, the rest as JSON."""
    text = value if isinstance(value, str) else msgspec.json.encode(value).decode()
    return TaskOutput(text, value)
