"""A wait step that begins. Used by `order`; what ends it stands in `ringing`."""

from __future__ import annotations

from datetime import datetime

from domain.conditions import evaluate, parse
from domain.errors import ConditionError
from domain.execution.events import ExecutionFailed, StepSuspended
from domain.execution.results import names_of
from domain.execution.rules.routing import failed
from domain.execution.state import Execution
from domain.execution.values import Wait
from domain.steps import Delay
from domain.terms import Json


def delayed(state: Execution, step: str, delay: Delay) -> StepSuspended | ExecutionFailed:
    """Its id is another each time that the step waits, so that an old timer ends nothing new."""
    number = 1 + (state.steps[step].recorded if step in state.steps else 0)
    wait = Wait("timer", f"{number}-{step}", for_s=delay.for_s or 0)
    if delay.until is None:
        return StepSuspended(step=step, attempt=0, wait=wait)
    seen: dict[str, Json] = {}
    try:
        moment = moment_of(evaluate(parse(delay.until), names_of(state), seen).value)
    except (ConditionError, ValueError) as error:
        return failed(step, "condition_failed", f"{delay.until!r} gives no moment: {error}", seen)
    return StepSuspended(step=step, attempt=0, wait=Wait("timer", wait.id, until=moment))


def moment_of(value: Json) -> datetime:
    """Raises `ValueError` for what is no ISO 8601 time with a zone."""
    if not isinstance(value, str):
        raise ValueError("expected a text")
    moment = datetime.fromisoformat(value)
    if moment.tzinfo is None:
        raise ValueError(f"{value!r} has no zone; expected one such as Z or +01:00")
    return moment
