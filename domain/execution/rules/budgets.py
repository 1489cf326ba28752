"""Budgets: a call that could break one is refused before it is made.

`budget_wait` is one of the demands of `suspending`, `budget_failure` is asked by `reporting`. Their one rule:
what a report says was answered is settled first; then each call that it would begin has to fit.
"""

from __future__ import annotations

from typing import TypeAlias

from domain.amounts import excess
from domain.errors import Conflict
from domain.execution.calls import ModelCallStarted, ToolCallStarted
from domain.execution.commands import RecordProgress
from domain.execution.state import Execution, evolve
from domain.execution.values import Failure, Wait

Begun: TypeAlias = ModelCallStarted | ToolCallStarted


def budget_wait(state: Execution, command: RecordProgress) -> Wait | None:
    """Until the budget is raised."""
    if state.definition.limits.on_exceeded != "wait" or (why := refusal(state, command)) is None:
        return None
    return Wait("budget", f"{command.step}:{command.attempt}", why)


def budget_failure(state: Execution, command: RecordProgress) -> Failure | None:
    """Why the execution fails in place of making a call, if it does."""
    if unpriced := unpriced_model(state, command):
        expected = "expected input_cost_per_token and output_cost_per_token in its catalogue entry"
        message = f"budget_usd can not be held: nobody knows the price of {unpriced}; {expected}"
        return Failure("model_unpriced", message)
    if state.definition.limits.on_exceeded != "fail" or (why := refusal(state, command)) is None:
        return None
    return Failure("budget_exceeded", why)


def refusal(state: Execution, command: RecordProgress) -> str | None:
    """Why the first call that does not fit is not made; None when all fit.

    Raises `Conflict` when the share of the day was held for less than the execution has come to meanwhile.
    """
    if state.budget.is_unbounded and state.day_bounds is None:
        return None
    for entry in command.entries:
        if not isinstance(entry, Begun):
            state = evolve(state, entry)
    begun = [entry for entry in command.entries if isinstance(entry, Begun)]
    for entry in begun:
        state = evolve(state, entry)
        if why := excess(state.budget, state.account.committed):
            return f"a call of {name_of(entry)} is not made: {why}"
    return over_day(state, command, name_of(begun[0])) if begun and state.day_bounds else None


def over_day(state: Execution, command: RecordProgress, name: str) -> str | None:
    if command.over_day:
        return f"a call of {name} is not made: {command.over_day}"
    if command.covered is None or not command.covered.covers(state.account.own):
        raise Conflict("the execution has come to more than its share of the day was held for")
    return None


def name_of(entry: Begun) -> str:
    return entry.model if isinstance(entry, ModelCallStarted) else entry.tool


def unpriced_model(state: Execution, command: RecordProgress) -> str | None:
    budgets = (state.budget, state.day_bounds)
    if all(budget is None or budget.budget_usd is None for budget in budgets):
        return None
    calls = (entry for entry in command.entries if isinstance(entry, ModelCallStarted))
    return next((c.model for c in calls if c.estimate is None or c.estimate.cost_usd is None), None)
