"""Budgets of executions: raised while they run, or wait for it."""

from __future__ import annotations

from litestar import post
from litestar.params import FromPath

from domain.execution import Execution, RaiseBudget, Status
from domain.limits import Budget
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


@post(
    "/v1/executions/{execution_id:str}/budget",
    opt=operation(
        "raise_execution_budget",
        "Raise the limits of an execution",
        tag=TAG,
        body=Budget,
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
    wanted = await read_json(request, Budget, is_optional=True)
    wish = RaiseBudget(execution_id=checked_id("execution", execution_id), budget=wanted)
    outcome = await command(request, wish, canonical(wanted), stream=wish.stream)
    state = outcome.state
    status = state.status if isinstance(state, Execution) else Status.PENDING
    return await answer(request, outcome, projections=PROJECTIONS, execution_status=status)
