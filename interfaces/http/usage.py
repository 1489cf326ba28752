"""Usage: what model calls have cost, and what is taken of the limits of a day."""

from __future__ import annotations

from datetime import date
from typing import Annotated

import msgspec
from litestar import get

from interfaces.http.answers import Answer
from interfaces.http.operation import a_list
from interfaces.http.queries import ListQuery, WorkflowId, page_answer, read_query
from interfaces.http.request import ApiRequest
from projections.day_spending import DaySpending, list_day_spending
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
    opt=a_list(
        "list_usage",
        "Calls, tokens and cost per day, model and workflow",
        tag="Usage",
        query=UsageQuery,
        item=Usage,
    ),
)
async def list_all(request: ApiRequest) -> Answer:
    """Newest day first."""
    return await page_answer(request, ("usage",), read_query(request, UsageQuery), list_usage)


class DayQuery(ListQuery, frozen=True, kw_only=True):
    """Which days, of which workflow."""

    first_day: Day | None = None
    last_day: Day | None = None
    workflow_id: WorkflowId | None = None


@get(
    "/v1/usage/days",
    opt=a_list(
        "list_day_spending",
        "What is taken of the limits per day",
        tag="Usage",
        query=DayQuery,
        item=DaySpending,
    ),
)
async def list_days(request: ApiRequest) -> Answer:
    """Newest day first; workflows whose documents have `limits.per_day`, or a workflow above them."""
    return await page_answer(request, ("day_spending",), read_query(request, DayQuery), list_day_spending)
