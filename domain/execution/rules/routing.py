"""Which way a router leads."""

from __future__ import annotations

import msgspec

from domain.conditions import evaluate, parse
from domain.errors import ConditionError
from domain.execution.events import ExecutionFailed, RouteChosen
from domain.execution.results import names_of
from domain.execution.state import Execution
from domain.execution.values import Failure
from domain.steps import Router
from domain.terms import Json


def route(state: Execution, step: str, router: Router) -> RouteChosen | ExecutionFailed:
    """The first route that holds; a condition that can not be worked out ends the execution, as none does."""
    seen: dict[str, Json] = {}
    for each in router.routes:
        try:
            holds = evaluate(parse(each.when), names_of(state), seen).value
        except ConditionError as error:
            return failed(step, "condition_failed", f"{each.when!r} can not be worked out: {error}", seen)
        if not isinstance(holds, bool):
            return failed(step, "condition_failed", f"{each.when!r} gave neither true nor false", seen)
        if holds:
            return RouteChosen(step=step, then=each.then, when=each.when, seen=seen)
    if router.otherwise is not None:
        return RouteChosen(step=step, then=router.otherwise, seen=seen)
    return failed(step, "no_route", f"no route of {step!r} holds and it has no otherwise", seen)


def failed(step: str, code: str, message: str, seen: dict[str, Json]) -> ExecutionFailed:
    looked_at = "; ".join(f"{path} is {msgspec.json.encode(value).decode()}" for path, value in seen.items())
    text = f"{message}; {looked_at}" if looked_at else message
    return ExecutionFailed(failure=Failure(code, text[:4_000]), step=step)
