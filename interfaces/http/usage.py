"""Usage: what model calls have cost."""

from __future__ import annotations

from datetime import date
from functools import partial
from typing import Annotated

import msgspec
from litestar import get

from interfaces.http.answers import Answer
from interfaces.http.operation import LIST_GIVES, LIST_PROBLEMS, QUERY_HEADERS, operation, page_of
from interfaces.http.queries import ListQuery, page_answer, read_query
from interfaces.http.request import ApiRequest
from projections.usage import Usage, list_usage

Day = Annotated[date, msgspec.Meta(description="A day in UTC, itself part of the answer.")]
ModelOf = Annotated[str, msgspec.Meta(max_length=200, description="A model's whole name.")]
WorkflowOf = Annotated[
    str, msgspec.Meta(max_length=128, description="A workflow's id; empty for inline definitions.")
]


class UsageQuery(ListQuery, frozen=True, kw_only=True):
    """What usage can be narrowed down by."""

    first_day: Day | None = None
    last_day: Day | None = None
    model: ModelOf | None = None
    workflow_id: WorkflowOf | None = None


@get(
    "/v1/usage",
    opt=operation(
        "list_usage",
        "Calls, tokens and cost per day, model and workflow",
        tag="Usage",
        query=UsageQuery,
        answer={200: page_of(Usage)},
        problems=LIST_PROBLEMS,
        headers=QUERY_HEADERS,
        gives=LIST_GIVES,
    ),
)
async def list_all(request: ApiRequest) -> Answer:
    """Newest day first."""
    query = read_query(request, UsageQuery)
    fetch = partial(
        list_usage,
        request.parts.read,
        request.tenant,
        first_day=query.first_day,
        last_day=query.last_day,
        model=query.model,
        workflow_id=query.workflow_id,
        limit=query.limit,
        cursor=query.cursor,
    )
    return await page_answer(request, ("usage",), query, fetch)
