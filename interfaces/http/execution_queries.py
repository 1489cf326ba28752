"""Executions, the queries: list, detail, history, timeline."""

from __future__ import annotations

from typing import Annotated

import msgspec
from litestar import get
from litestar.params import FromPath

from domain.execution import EXECUTION, Status
from domain.message import tag_of
from interfaces.http.answers import Answer
from interfaces.http.identifiers import checked_id
from interfaces.http.operation import a_list, a_resource, as_defined
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
from projections.execution_detail import Child, ExecutionDetail, Pinned, get_execution
from projections.execution_history import HistoryEntry, list_history
from projections.execution_list import ExecutionRow, list_executions
from projections.execution_timeline import list_timeline
from projections.timeline_rows import Entry

TAG = "Executions"
GONE = ("archived",)


AfterVersion = Annotated[
    int, msgspec.Meta(ge=0, le=2**63 - 1, description="Begin behind this version of the execution.")
]
EventType = Annotated[str, msgspec.Meta(pattern=f"^({'|'.join(map(tag_of, EXECUTION.events))})$")]
EventTypes = Annotated[tuple[EventType, ...], msgspec.Meta(description="Only events of one of these types.")]
Contained = Annotated[
    str,
    msgspec.Meta(
        min_length=1,
        max_length=200,
        description="Only events whose JSON holds this text, upper and lower case apart.",
    ),
]


ForkedFrom = Annotated[
    str, msgspec.Meta(max_length=128, description="The id of an execution: its forks only.")
]
ParentId = Annotated[
    str, msgspec.Meta(max_length=128, description="The id of an execution: its children only.")
]


class ExecutionsQuery(ListQuery, frozen=True, kw_only=True):
    """What the list of executions can be narrowed down by."""

    status: Annotated[tuple[Status, ...], msgspec.Meta(description="One or more.")] = ()
    workflow_id: WorkflowId | None = None
    name: NamePart | None = None
    forked_from: ForkedFrom | None = None
    parent: ParentId | None = None
    created_after: Moment | None = None
    created_before: Moment | None = None
    ended_before: Moment | None = None
    archived: Annotated[
        bool,
        msgspec.Meta(description="Those that were archived, each with where it went; else only the others."),
    ] = False


class HistoryQuery(ListQuery, frozen=True, kw_only=True):
    """What a history can be narrowed down by."""

    after_version: AfterVersion | None = None
    type: EventTypes = ()
    contains: Contained | None = None


Execution = msgspec.defstruct(
    "Execution",
    [
        *[as_defined(field) for of in (ExecutionDetail, Pinned) for field in msgspec.structs.fields(of)],
        ("children", tuple[Child, ...]),
    ],
    kw_only=True,
    namespace={
        "__doc__": "One execution whole: how far it is, what it pins, and its forks (children, at most 100)."
    },
)


@get(
    "/v1/executions",
    opt=a_list(
        "list_executions", "Executions, newest first", tag=TAG, query=ExecutionsQuery, item=ExecutionRow
    ),
)
async def list_all(request: ApiRequest) -> Answer:
    """Each with its status, calls, tokens and cost."""
    query = read_query(request, ExecutionsQuery)
    return await page_answer(request, ("execution_list",), query, list_executions)


@get(
    "/v1/executions/{execution_id:str}",
    opt=a_resource("get_execution", "One execution whole", tag=TAG, query=Query, of=Execution, problems=GONE),
)
async def detail(request: ApiRequest, execution_id: FromPath[str]) -> Answer:
    """Its steps, inputs, output or failure, and the document that it pins."""
    query, found_by = read_query(request, Query), checked_id("execution", execution_id)
    return await document_answer(request, ("execution_detail",), query, get_execution, found_by)


@get(
    "/v1/executions/{execution_id:str}/history",
    opt=a_list(
        "list_execution_history",
        "Every event of an execution",
        tag=TAG,
        query=HistoryQuery,
        item=HistoryEntry,
        within=True,
        problems=GONE,
    ),
)
async def history(request: ApiRequest, execution_id: FromPath[str]) -> Answer:
    """In the order in which they happened, down to every model call and tool call."""
    query, found_by = read_query(request, HistoryQuery), checked_id("execution", execution_id)
    return await page_answer(request, ("execution_history",), query, list_history, found_by)


@get(
    "/v1/executions/{execution_id:str}/timeline",
    opt=a_list(
        "list_execution_timeline",
        "Steps, tasks and calls with time, tokens and cost",
        tag=TAG,
        query=ListQuery,
        item=Entry,
        within=True,
        problems=GONE,
    ),
)
async def timeline(request: ApiRequest, execution_id: FromPath[str]) -> Answer:
    """In the order in which they began."""
    query, found_by = read_query(request, ListQuery), checked_id("execution", execution_id)
    return await page_answer(request, ("execution_timeline",), query, list_timeline, found_by)
