"""Approvals: what waits for a person, and what they say. Signals: what else an execution waits for."""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec
from litestar import get, post
from litestar.params import FromPath

from application.answering import decide_approval, send_signal
from domain.definition import Json
from interfaces.http.answers import Accepted, Answer
from interfaces.http.bodies import read_json
from interfaces.http.commanding import answer, canonical, command
from interfaces.http.executions import PROJECTIONS
from interfaces.http.identifiers import checked_id
from interfaces.http.operation import (
    BODY_PROBLEMS,
    COMMAND_GIVES,
    COMMAND_HEADERS,
    COMMAND_PROBLEMS,
    a_list,
    a_resource,
    operation,
)
from interfaces.http.queries import ListQuery, Query, document_answer, page_answer, read_query
from interfaces.http.request import ApiRequest
from projections.approvals import NAME, ApprovalRow, get_approval, list_approvals

TAG = "Approvals"
ApprovalStatus = Annotated[
    Literal["pending", "approved", "rejected", "retried", "withdrawn"],
    msgspec.Meta(description="How far it is; withdrawn: the execution ended before it was decided."),
]
ExecutionId = Annotated[str, msgspec.Meta(max_length=128, description="An execution's id.")]
ANSWERED = (*COMMAND_PROBLEMS, *BODY_PROBLEMS, "not_found", "precondition_failed", "key_reused")


class ApprovalsQuery(ListQuery, frozen=True, kw_only=True):
    """What the list of approvals can be narrowed down by."""

    status: ApprovalStatus | None = None
    execution_id: ExecutionId | None = None


class Decision(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What is decided, on what was shown.

    decision  retry: the crews that are shown run again, with the comment in view; then it is asked again
    digest    of the approval, as it was read
    comment   needed where the approval says so, and for retry
    approver  on whose behalf, where not the caller's own; the caller is recorded as well
    edits     with approve: what goes on in place of the outputs shown, by task: a text, or an instance of the
              task's schema
    """

    decision: Literal["approve", "reject", "retry"]
    digest: Annotated[str, msgspec.Meta(pattern="^[0-9a-f]{64}$")]
    comment: Annotated[str, msgspec.Meta(max_length=4_000)] = ""
    approver: Annotated[str, msgspec.Meta(min_length=1, max_length=200)] | None = None
    edits: dict[str, Json] = {}


class SignalBody(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """payload: any JSON value; the output of the step that takes it."""

    payload: Json = None


@get(
    "/v1/approvals",
    opt=a_list(
        "list_approvals",
        "What waits for a person, and what was decided",
        tag=TAG,
        query=ApprovalsQuery,
        item=ApprovalRow,
    ),
)
async def list_all(request: ApiRequest) -> Answer:
    """Oldest first, each with its message and the outputs it is about."""
    return await page_answer(request, (NAME,), read_query(request, ApprovalsQuery), list_approvals)


@get(
    "/v1/executions/{execution_id:str}/approvals/{approval_id:str}",
    opt=a_resource("get_approval", "One approval", tag=TAG, query=Query, of=ApprovalRow),
)
async def detail(request: ApiRequest, execution_id: FromPath[str], approval_id: FromPath[str]) -> Answer:
    """With its message, the outputs it is about, their digest, and what was decided so far."""
    ids = (checked_id("execution", execution_id), checked_id("approval", approval_id))
    return await document_answer(request, (NAME,), read_query(request, Query), get_approval, *ids)


@post(
    "/v1/executions/{execution_id:str}/approvals/{approval_id:str}",
    opt=operation(
        "decide_approval",
        "Approve, reject, or send back",
        tag=TAG,
        body=Decision,
        examples={
            "approve": {"decision": "approve", "digest": "0" * 64, "comment": "Well said"},
            "edit": {"decision": "approve", "digest": "0" * 64, "edits": {"reply": "Dear customer, ..."}},
            "retry": {"decision": "retry", "digest": "0" * 64, "comment": "Shorter, and without a date"},
        },
        answer={202: Accepted},
        problems=ANSWERED,
        headers=(*COMMAND_HEADERS, "If-Match"),
        gives=COMMAND_GIVES,
    ),
)
async def decide(request: ApiRequest, execution_id: FromPath[str], approval_id: FromPath[str]) -> Answer:
    """One decision ends it (of `approvals` agreements, the last): whoever comes later is refused (409).
    So is a `digest` of something else than what is shown now."""
    wanted = await read_json(request, Decision)
    execution = checked_id("execution", execution_id)
    wish = decide_approval(
        execution,
        checked_id("approval", approval_id),
        wanted.decision,
        digest=wanted.digest,
        approver=wanted.approver or request.actor,
        comment=wanted.comment,
        edits=wanted.edits,
    )
    outcome = await command(request, wish, canonical(wanted), stream=f"execution-{execution}")
    return await answer(request, outcome, projections=(*PROJECTIONS, NAME))


@post(
    "/v1/executions/{execution_id:str}/signals/{name:str}",
    opt=operation(
        "send_signal",
        "Tell an execution what it waits for",
        tag=TAG,
        body=SignalBody,
        is_body_optional=True,
        examples={"reply": {"payload": {"text": "Yes, please"}}},
        answer={202: Accepted},
        problems=ANSWERED,
        headers=(*COMMAND_HEADERS, "If-Match"),
        gives=COMMAND_GIVES,
    ),
)
async def signal(request: ApiRequest, execution_id: FromPath[str], name: FromPath[str]) -> Answer:
    """Sent before a step waits for it, it is kept; each is taken by one step, the oldest first."""
    wanted = await read_json(request, SignalBody, is_optional=True)
    execution = checked_id("execution", execution_id)
    wish = send_signal(execution, checked_id("signal", name), wanted.payload, by=request.actor)
    outcome = await command(request, wish, canonical(wanted), stream=f"execution-{execution}")
    return await answer(request, outcome, projections=PROJECTIONS)


ROUTES = (list_all, detail, decide, signal)
