"""Webhooks, the queries: list, detail, how far it is, what could not be delivered."""

from __future__ import annotations

from typing import Annotated

import msgspec
from litestar import get
from litestar.params import FromPath

from application.webhooks.standing import Delivery, delivery_of
from domain.subscription import Standing
from interfaces.http.answers import Answer, json_answer
from interfaces.http.identifiers import checked_id
from interfaces.http.operation import DETAIL_PROBLEMS, QUERY_HEADERS, a_list, a_resource, operation
from interfaces.http.queries import ListQuery, Query, document_answer, page_answer, reached, read_query
from interfaces.http.request import ApiRequest
from projections.subscriptions import (
    NAME,
    DeadLetter,
    SubscriptionRow,
    get_subscription,
    list_dead_letters,
    list_subscriptions,
)

TAG = "Subscriptions"


class SubscriptionsQuery(ListQuery, frozen=True, kw_only=True):
    """What the list can be narrowed down by."""

    standing: Annotated[Standing, msgspec.Meta(description="Whether events go out.")] | None = None


@get(
    "/v1/subscriptions",
    opt=a_list(
        "list_subscriptions",
        "Subscriptions, newest first",
        tag=TAG,
        query=SubscriptionsQuery,
        item=SubscriptionRow,
    ),
)
async def list_all(request: ApiRequest) -> Answer:
    """Without those that were deleted; no secret is shown."""
    return await page_answer(request, (NAME,), read_query(request, SubscriptionsQuery), list_subscriptions)


@get(
    "/v1/subscriptions/{subscription_id:str}",
    opt=a_resource("get_subscription", "A subscription", tag=TAG, query=Query, of=SubscriptionRow),
)
async def detail(request: ApiRequest, subscription_id: FromPath[str]) -> Answer:
    """As it is now; no secret is shown."""
    query, found_by = read_query(request, Query), checked_id("subscription", subscription_id)
    return await document_answer(request, (NAME,), query, get_subscription, found_by)


@get(
    "/v1/subscriptions/{subscription_id:str}/dead-letters",
    opt=a_list(
        "list_dead_letters",
        "What could not be delivered",
        tag=TAG,
        query=ListQuery,
        item=DeadLetter,
        within=True,
    ),
)
async def dead_letters(request: ApiRequest, subscription_id: FromPath[str]) -> Answer:
    """Events that were tried for a day; in the order of the log."""
    query, found_by = read_query(request, ListQuery), checked_id("subscription", subscription_id)
    return await page_answer(request, (NAME,), query, list_dead_letters, found_by)


@get(
    "/v1/subscriptions/{subscription_id:str}/delivery",
    opt=operation(
        "get_delivery",
        "How far the delivery is",
        tag=TAG,
        query=Query,
        answer={200: Delivery},
        problems=(*DETAIL_PROBLEMS, "log_unavailable"),
        headers=QUERY_HEADERS,
        gives=("Kasal-Position",),
    ),
)
async def delivery(request: ApiRequest, subscription_id: FromPath[str]) -> Answer:
    """Position, lag, failures and the next attempt, as the delivery saved them: about a second ago; where it
    had nothing to send, ten."""
    query, found_by = read_query(request, Query), checked_id("subscription", subscription_id)
    fields = await reached(request, (NAME,), query.after)
    await get_subscription(request.parts.read, request.tenant, found_by)
    saved = await request.parts.webhook_progress(found_by)
    head = await request.parts.read_log.head()
    return json_answer(delivery_of(saved, head), headers=fields)


ROUTES = (list_all, detail, delivery, dead_letters)
