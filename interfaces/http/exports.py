"""Exports: an execution, or a range of the log, as JSON lines of CloudEvents."""

from __future__ import annotations

from typing import Annotated

import msgspec
from litestar import get
from litestar.params import FromPath

from interfaces.http.identifiers import checked_id
from interfaces.http.lines import MEDIA_TYPE, Lines
from interfaces.http.operation import operation
from interfaces.http.queries import check_position, faulty, read_query
from interfaces.http.request import ApiRequest

TAG = "Events"
PROBLEMS = ("malformed", "log_unavailable")

Behind = Annotated[int, msgspec.Meta(ge=0, le=2**63 - 1, description="Begin behind this position.")]
UpTo = Annotated[
    int, msgspec.Meta(ge=1, le=2**63 - 1, description="The last position; left out: the log's end by now.")
]
EventLines = Annotated[
    str,
    msgspec.Meta(
        description="A CloudEvent a line, its `leafhash` beside it; before an event the large texts that it "
        "names, as `io.kasal.content`, in parts of at most 256 KiB."
    ),
]


class NoQuery(msgspec.Struct, frozen=True):
    """This route takes no parameters."""


class RangeQuery(msgspec.Struct, frozen=True, kw_only=True):
    """Which part of the log."""

    after: Behind = 0
    to: UpTo | None = None


@get(
    "/v1/executions/{execution_id:str}/history/export",
    opt=operation(
        "export_execution",
        "Every event of an execution as CloudEvents",
        tag=TAG,
        query=NoQuery,
        answer={200: EventLines},
        media_types=(MEDIA_TYPE,),
        problems=(*PROBLEMS, "not_found"),
    ),
)
async def of_execution(request: ApiRequest, execution_id: FromPath[str]) -> Lines:
    """In the order in which they happened, each with the bytes that the log holds."""
    read_query(request, NoQuery)
    found_by = checked_id("execution", execution_id)
    lines = await request.parts.exports.execution(request.tenant, found_by)
    return Lines(lines, f"{found_by}.ndjson")


@get(
    "/v1/events/export",
    opt=operation(
        "export_events",
        "A range of the log as CloudEvents",
        tag=TAG,
        query=RangeQuery,
        answer={200: EventLines},
        media_types=(MEDIA_TYPE,),
        problems=(*PROBLEMS, "position_gone"),
    ),
)
async def of_log(request: ApiRequest) -> Lines:
    """From the beginning, it is what `kasal history import` makes the same log of."""
    query = read_query(request, RangeQuery)
    await check_position(request, query.after)
    if query.to is not None and query.to < query.after:
        raise faulty("to", f"expected a position from {query.after} on, that of `after`")
    lines = request.parts.exports.positions(request.tenant, query.after, query.to)
    return Lines(lines, f"events-{query.after + 1}.ndjson")
