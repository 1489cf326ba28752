"""Executions, the queries: list, detail, history, timeline."""

from __future__ import annotations

from functools import partial
from typing import Annotated

import msgspec
from litestar import get
from litestar.params import FromPath

from domain.execution import Status
from interfaces.http.answers import Answer
from interfaces.http.identifiers import checked_id
from interfaces.http.operation import (
    DETAIL_GIVES,
    DETAIL_HEADERS,
    DETAIL_PROBLEMS,
    LIST_GIVES,
    LIST_PROBLEMS,
    QUERY_HEADERS,
    as_defined,
    operation,
    page_of,
)
from interfaces.http.queries import (
    ListQuery,
    Moment,
    NamePart,
    Query,
    WorkflowId,
    document_answer,
    page_answer,
    read_query,
)
from interfaces.http.request import ApiRequest
from projections.execution_detail import ExecutionDetail, Pinned, get_execution
from projections.execution_history import HistoryEntry, list_history
from projections.execution_list import ExecutionRow, list_executions
from projections.execution_timeline import Entry, list_timeline

TAG = "Executions"


AfterVersion = Annotated[
    int, msgspec.Meta(ge=0, le=2**63 - 1, description="Begin behind this version of the execution.")
]


class ExecutionsQuery(ListQuery, frozen=True, kw_only=True):
    """What the list of executions can be narrowed down by."""

    status: Annotated[tuple[Status, ...], msgspec.Meta(description="One or more.")] = ()
    workflow_id: WorkflowId | None = None
    name: NamePart | None = None
    created_after: Moment | None = None
    created_before: Moment | None = None


class HistoryQuery(ListQuery, frozen=True, kw_only=True):
    """What a history can be narrowed down by."""

    after_version: AfterVersion | None = None


Execution = msgspec.defstruct(
    "Execution",
    [
        *[as_defined(field) for of in (ExecutionDetail, Pinned) for field in msgspec.structs.fields(of)],
    ],
    kw_only=True,
    namespace={"__doc__": "One execution whole: how far it is, and what it pins."},
)


@get(
    "/v1/executions",
    opt=operation(
        "list_executions",
        "Executions, newest first",
        tag=TAG,
        query=ExecutionsQuery,
        answer={200: page_of(ExecutionRow)},
        problems=LIST_PROBLEMS,
        headers=QUERY_HEADERS,
        gives=LIST_GIVES,
    ),
)
async def list_all(request: ApiRequest) -> Answer:
    """Each with its status, calls, tokens and cost."""
    query = read_query(request, ExecutionsQuery)
    fetch = partial(
        list_executions,
        request.parts.read,
        request.tenant,
        status=query.status,
        workflow_id=query.workflow_id,
        name=query.name,
        created_after=query.created_after,
        created_before=query.created_before,
        limit=query.limit,
        cursor=query.cursor,
    )
    return await page_answer(request, ("execution_list",), query, fetch)


@get(
    "/v1/executions/{execution_id:str}",
    opt=operation(
        "get_execution",
        "One execution whole",
        tag=TAG,
        query=Query,
        answer={200: Execution, 304: None},
        problems=DETAIL_PROBLEMS,
        headers=DETAIL_HEADERS,
        gives=DETAIL_GIVES,
    ),
)
async def detail(request: ApiRequest, execution_id: FromPath[str]) -> Answer:
    """Its steps, inputs, output or failure, and the document that it pins."""
    query = read_query(request, Query)
    fetch = partial(get_execution, request.parts.read, request.tenant, checked_id("execution", execution_id))
    return await document_answer(request, ("execution_detail",), query, fetch)


@get(
    "/v1/executions/{execution_id:str}/history",
    opt=operation(
        "list_execution_history",
        "Every event of an execution",
        tag=TAG,
        query=HistoryQuery,
        answer={200: page_of(HistoryEntry)},
        problems=(*LIST_PROBLEMS, "not_found"),
        headers=QUERY_HEADERS,
        gives=LIST_GIVES,
    ),
)
async def history(request: ApiRequest, execution_id: FromPath[str]) -> Answer:
    """In the order in which they happened, down to every model call and tool call."""
    query = read_query(request, HistoryQuery)
    fetch = partial(
        list_history,
        request.parts.read,
        request.tenant,
        checked_id("execution", execution_id),
        after_version=query.after_version,
        limit=query.limit,
        cursor=query.cursor,
    )
    return await page_answer(request, ("execution_history",), query, fetch)


@get(
    "/v1/executions/{execution_id:str}/timeline",
    opt=operation(
        "list_execution_timeline",
        "Steps, tasks and calls with time, tokens and cost",
        tag=TAG,
        query=ListQuery,
        answer={200: page_of(Entry)},
        problems=(*LIST_PROBLEMS, "not_found"),
        headers=QUERY_HEADERS,
        gives=LIST_GIVES,
    ),
)
async def timeline(request: ApiRequest, execution_id: FromPath[str]) -> Answer:
    """In the order in which they began."""
    query = read_query(request, ListQuery)
    fetch = partial(
        list_timeline,
        request.parts.read,
        request.tenant,
        checked_id("execution", execution_id),
        limit=query.limit,
        cursor=query.cursor,
    )
    return await page_answer(request, ("execution_timeline",), query, fetch)
