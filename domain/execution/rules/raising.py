"""A budget is raised: steps that wait for it go on."""

from __future__ import annotations

from msgspec.structs import replace

from domain.amounts import B
from domain.errors import Fault, Invalid
from domain.execution.commands import RaiseBudget
from domain.execution.events import BudgetRaised, ExecutionEvents
from domain.execution.rules.checks import check_open
from domain.execution.rules.retrying import RETRIED
from domain.execution.rules.spawning import spawned_again
from domain.execution.rules.suspending import again
from domain.execution.state import Execution, evolve
from domain.limits import DayBudget


def raise_budget(state: Execution, command: RaiseBudget) -> tuple[ExecutionEvents, ...]:
    """Without a limit in the command: what waits tries once more. What failed may be retried with more."""
    if state.status not in RETRIED:
        check_open(state, command)
    raised = raised_budget(state.budget, command.budget)
    per_day = raised_per_day(state, command)
    is_raised = raised != state.budget or per_day is not None
    if not is_raised:
        return tried_again(state, "its budget was raised")
    event = BudgetRaised(budget=raised, per_day=per_day)
    return (event, *tried_again(evolve(state, event), "its budget was raised"))


def tried_again(state: Execution, reason: str) -> tuple[ExecutionEvents, ...]:
    """What waits for budget goes on, while there is enough for it."""
    events: list[ExecutionEvents] = []
    waiting = [name for name, step in state.steps.items() if step.wait and step.wait.kind == "budget"]
    for name in waiting if state.is_open else ():
        is_crew = state.definition.child_of(name) is None
        following = (again(state, name, reason),) if is_crew else spawned_again(state, name)
        for event in following:
            state = evolve(state, event)
        events += following
    return tuple(events)


def raised_per_day(state: Execution, command: RaiseBudget) -> DayBudget | None:
    """None: as they are."""
    now = state.per_day or DayBudget()
    raised = raised_budget(now, command.per_day or DayBudget(), "/per_day")
    return None if raised == now else raised


def raised_budget(now: B, wanted: B, at: str = "") -> B:
    """The limits with those that are given anew. Raises `Invalid` for one that is not higher than it is."""
    given = {name: getattr(wanted, name) for name in now.__struct_fields__}
    faults = []
    for name, value in given.items():
        limit = getattr(now, name)
        if value is not None and limit is None:
            faults.append(Fault(f"{at}/{name}", "there is no such limit; expected one that the workflow has"))
        elif value is not None and value < limit:
            faults.append(
                Fault(f"{at}/{name}", f"is lower than the limit now, {limit:g}; expected a higher one")
            )
    if faults:
        raise Invalid(f"the budget can not be raised: {faults[0].pointer} {faults[0].message}", tuple(faults))
    return replace(now, **{name: value for name, value in given.items() if value is not None})
