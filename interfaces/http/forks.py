"""Forks: a new execution from any entry of another's history, with something else from there on."""

from __future__ import annotations

from typing import Annotated

import msgspec
from litestar import post
from litestar.params import FromPath

from application.forks import fork_execution
from application.overrides import Overrides
from application.states import Preparation
from application.what_ifs import what_if_execution
from domain.execution import Execution, Status
from interfaces.http.answers import Accepted, Answer
from interfaces.http.bodies import read_json
from interfaces.http.commanding import answer, canonical, command
from interfaces.http.examples import FORK, WHAT_IF
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


class ForkExecution(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """at: the version of the execution, as its history has it, that the fork's past ends with. Left out: its
    end, or the last version at which no task among the overrides was begun and each call among them had just
    been answered. name: made from the execution's where none is given."""

    at: Annotated[int, msgspec.Meta(ge=1, le=2**63 - 1)] | None = None
    overrides: Overrides = Overrides()
    name: Annotated[str, msgspec.Meta(min_length=1, max_length=100)] | None = None


class AskWhatIf(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """overrides: what is different, but for the results of calls. name: made from the execution's where none
    is given."""

    overrides: Overrides = Overrides()
    name: Annotated[str, msgspec.Meta(min_length=1, max_length=100)] | None = None


@post(
    "/v1/executions/{execution_id:str}/what-if",
    opt=operation(
        "ask_what_if",
        "Run an execution again with other models or prompts, and no tool",
        tag=TAG,
        body=AskWhatIf,
        is_body_optional=True,
        examples={"other_model": WHAT_IF},
        answer={201: Accepted},
        problems=(*COMMAND_PROBLEMS, *BODY_PROBLEMS, "not_found", "key_reused"),
        headers=COMMAND_HEADERS,
        gives=(*COMMAND_GIVES, "Location"),
    ),
)
async def what_if(request: ApiRequest, execution_id: FromPath[str]) -> Answer:
    """A new execution: models are asked anew, every tool call is answered as it was then, and none is made.

    It fails with `what_if_diverged` at a tool call that was never answered. `diff?with=` compares the two.
    """
    wanted = await read_json(request, AskWhatIf, is_optional=True)
    wish = what_if_execution(
        request.parts.clock.new_id(),
        checked_id("execution", execution_id),
        wanted.overrides,
        tenant=request.tenant,
        name=wanted.name,
    )
    return await begun(request, wish, canonical(wanted))


@post(
    "/v1/executions/{execution_id:str}/fork",
    opt=operation(
        "fork_execution",
        "Go on otherwise from any entry of an execution",
        tag=TAG,
        body=ForkExecution,
        is_body_optional=True,
        examples={"other_prompts": FORK},
        answer={201: Accepted},
        problems=(*COMMAND_PROBLEMS, *BODY_PROBLEMS, "not_found", "key_reused"),
        headers=COMMAND_HEADERS,
        gives=(*COMMAND_GIVES, "Location"),
    ),
)
async def fork(request: ApiRequest, execution_id: FromPath[str]) -> Answer:
    """A new execution; the one it is forked from may be running or have ended, and goes on as it was.

    What had completed by `at` is taken over as done. Of a task that was under way, each call that asks the
    same is answered as it was then; a call to another model counts as the same. All else is done with the
    overrides. Nothing of that past is paid for again: see `reused_calls`, `saved_tokens` and `saved_usd`.
    """
    wanted = await read_json(request, ForkExecution, is_optional=True)
    wish = fork_execution(
        request.parts.clock.new_id(),
        checked_id("execution", execution_id),
        wanted.overrides,
        tenant=request.tenant,
        at=wanted.at,
        name=wanted.name,
    )
    return await begun(request, wish, canonical(wanted))


async def begun(request: ApiRequest, wish: Preparation, fingerprint: bytes) -> Answer:
    """The answer of the execution that a wish has made."""
    outcome = await command(request, wish, fingerprint)
    state = outcome.state
    return await answer(
        request,
        outcome,
        projections=PROJECTIONS,
        status=201,
        location=f"/v1/executions/{outcome.entity_id}",
        execution_status=state.status if isinstance(state, Execution) else Status.PENDING,
    )
