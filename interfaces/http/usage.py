"""Usage: what model calls have cost."""

from __future__ import annotations

from datetime import date
from functools import partial

from litestar import get

from interfaces.http.answers import Answer
from interfaces.http.operation import LIST_GIVES, LIST_PROBLEMS, QUERY_HEADERS, operation, page_of
from interfaces.http.queries import Id, ListQuery, NamePart, page_answer, read_query
from interfaces.http.request import ApiRequest
from projections.usage import Usage, list_usage


class UsageQuery(ListQuery, frozen=True, kw_only=True):
    """first_day, last_day: UTC, both belong to the answer. workflow_id: empty for inline definitions."""

    first_day: date | None = None
    last_day: date | None = None
    model: NamePart | None = None
    workflow_id: Id | None = None


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
