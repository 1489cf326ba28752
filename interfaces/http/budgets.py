"""Budgets of executions: raised while they run, or wait for it."""

from __future__ import annotations

from litestar import post
from litestar.params import FromPath

from domain.execution import Execution, RaiseBudget, Status
from domain.limits import Budget, DayBudget
from interfaces.http.answers import Accepted, Answer
from interfaces.http.bodies import read_json
from interfaces.http.commanding import answer, canonical, command
from interfaces.http.executions import PROJECTIONS, TAG
from interfaces.http.identifiers import checked_id
from interfaces.http.operation import (
    BODY_PROBLEMS,
    COMMAND_GIVES,
    COMMAND_HEADERS,
    COMMAND_PROBLEMS,
    operation,
)
from interfaces.http.request import ApiRequest


class RaisedBudget(Budget, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """The limits that are others from now on. per_day: those of the workflow and day, for this execution."""

    per_day: DayBudget | None = None


@post(
    "/v1/executions/{execution_id:str}/budget",
    opt=operation(
        "raise_execution_budget",
        "Raise the limits of an execution",
        tag=TAG,
        body=RaisedBudget,
        is_body_optional=True,
        examples={"as_it_is": {}},
        answer={202: Accepted},
        problems=(*COMMAND_PROBLEMS, *BODY_PROBLEMS, "not_found", "precondition_failed", "key_reused"),
        headers=(*COMMAND_HEADERS, "If-Match"),
        gives=COMMAND_GIVES,
    ),
)
async def raise_budget(request: ApiRequest, execution_id: FromPath[str]) -> Answer:
    """The limits that are given hold from now on; they can only be raised. What waits for budget goes on;
    without a limit in the body, under those that there are."""
    wanted = await read_json(request, RaisedBudget, is_optional=True)
    limits = Budget(**{name: getattr(wanted, name) for name in Budget.__struct_fields__})
    wish = RaiseBudget(
        execution_id=checked_id("execution", execution_id), budget=limits, per_day=wanted.per_day
    )
    outcome = await command(request, wish, canonical(wanted), stream=wish.stream)
    state = outcome.state
    status = state.status if isinstance(state, Execution) else Status.PENDING
    return await answer(request, outcome, projections=PROJECTIONS, execution_status=status)
