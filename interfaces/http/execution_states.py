"""Executions, looking back: the state at a version or a time, and what differs."""

from __future__ import annotations

from typing import Annotated

import msgspec
from litestar import get
from litestar.params import FromPath

from domain.execution import Execution
from interfaces.http.answers import Answer, json_answer
from interfaces.http.execution_queries import GONE
from interfaces.http.identifiers import checked_id
from interfaces.http.operation import (
    DETAIL_PROBLEMS,
    QUERY_HEADERS,
    a_resource,
    as_defined,
    operation,
)
from interfaces.http.queries import Limit, Query, asked, document_answer, faulty, reached, read_query
from interfaces.http.queries import Moment as Time
from interfaces.http.request import ApiRequest
from projections.execution_comparison import ExecutionsDiff, diff_executions
from projections.execution_states import StateAt, VersionsDiff, diff_versions, get_state
from projections.paging import DEFAULT_LIMIT

TAG = "Executions"
HISTORY = ("execution_history",)

AtVersion = Annotated[
    int, msgspec.Meta(ge=1, le=2**31 - 1, description="A version of the execution; left out: the newest.")
]
FromVersion = Annotated[
    int, msgspec.Meta(ge=0, le=2**31 - 1, description="The earlier version; 0 is before the first event.")
]
OtherId = Annotated[str, msgspec.Meta(max_length=128, description="Another execution, to compare it with.")]
At = Annotated[Time, msgspec.Meta(description="As it was at this time: ISO 8601 with a zone.")]

ExecutionState = msgspec.defstruct(
    "ExecutionState",
    [as_defined(field) for field in msgspec.structs.fields(Execution)],
    namespace={"__doc__": "The aggregate: what the next command would be decided on."},
)
StateAtAnswer = msgspec.defstruct(
    "StateAt",
    [
        (field.name, ExecutionState if field.name == "state" else field.type)
        for field in msgspec.structs.fields(StateAt)
    ],
    kw_only=True,
    namespace={"__doc__": StateAt.__doc__},
)


class StateQuery(Query, frozen=True, kw_only=True):
    """Which state."""

    version: AtVersion | None = None
    at: At | None = None


class DiffQuery(Query, frozen=True, kw_only=True):
    """What to compare: two versions, or this execution (left) with another (right)."""

    from_version: FromVersion | None = msgspec.field(name="from", default=None)
    to_version: AtVersion | None = msgspec.field(name="to", default=None)
    other: OtherId | None = msgspec.field(name="with", default=None)
    limit: Limit | None = None

    def check(self) -> None:
        """Raises `Refused` unless it names exactly one comparison."""
        versions = self.from_version is not None or self.to_version is not None
        if versions == (self.other is not None):
            message = "expected either `from` (and `to`), or `with`"
            raise faulty("with", message)
        if versions and self.from_version is None:
            raise faulty("from", "is missing; 0 is before the first event")
        if versions and self.limit is not None:
            raise faulty("limit", "expected only beside `with`")


@get(
    "/v1/executions/{execution_id:str}/state",
    opt=a_resource(
        "get_execution_state",
        "The state of an execution at a version or a time",
        tag=TAG,
        query=StateQuery,
        of=StateAtAnswer,
        problems=GONE,
    ),
)
async def state(request: ApiRequest, execution_id: FromPath[str]) -> Answer:
    """Folded from its events as they were stored, with the rules of the running system."""
    query, found_by = read_query(request, StateQuery), checked_id("execution", execution_id)
    return await document_answer(request, HISTORY, query, get_state, found_by)


@get(
    "/v1/executions/{execution_id:str}/diff",
    opt=operation(
        "diff_execution",
        "What differs between two versions, or two executions",
        tag=TAG,
        query=DiffQuery,
        answer={200: VersionsDiff | ExecutionsDiff},
        problems=(*DETAIL_PROBLEMS, *GONE),
        headers=QUERY_HEADERS,
        gives=("Kasal-Position",),
    ),
)
async def diff(request: ApiRequest, execution_id: FromPath[str]) -> Answer:
    """`from` and `to`: what changed in the state, what happened and what it cost. `with`: the first call that
    differs, every other one (at most `limit`), cost and output side by side."""
    query, left = read_query(request, DiffQuery), checked_id("execution", execution_id)
    query.check()
    right = None if query.other is None else checked_id("execution", query.other)
    fields = await reached(request, HISTORY, query.after)
    read, tenant = request.parts.read, request.tenant
    found: VersionsDiff | ExecutionsDiff
    if right is not None:
        found = await diff_executions(read, tenant, left, right, limit=query.limit or DEFAULT_LIMIT)
    else:
        versions = diff_versions(read, tenant, left, query.from_version or 0, query.to_version)
        found = await asked(versions)
    return json_answer(found, headers=fields)
