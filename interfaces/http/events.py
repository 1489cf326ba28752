"""Server-sent events: the life of one execution, and everything that is recorded.

Its one rule: `id` is the position in the log, so a client that comes back with `Last-Event-ID` (or `?after=`)
goes on where it was. A stream of an execution ends after the execution's last event with `event: end`; asked
again from there it answers 204, at which an `EventSource` stops.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager, suppress
from typing import Annotated, cast

import msgspec
from litestar import get
from litestar.params import FromPath
from litestar.types import ASGIApp, Receive, Scope, Send

from domain.errors import KasalError, NotFound
from domain.message import Recorded
from interfaces.http.answers import Answer
from interfaces.http.headers import header_fault
from interfaces.http.identifiers import checked_id
from interfaces.http.operation import operation
from interfaces.http.queries import check_position, read_query
from interfaces.http.request import ApiRequest
from interfaces.http.subscriptions import AllEvents, ExecutionEvents, Subscription
from interfaces.streams import (
    RETRY_S,
    TERMINAL_TAGS,
    LiveEvents,
    Watch,
)

TAG = "Events"
MEDIA_TYPE = "text/event-stream"
HEARTBEAT_S = 15.0
STALLED_S = 60.0
"""A client that takes nothing for so long is gone."""

HEADERS = [
    (b"content-type", b"text/event-stream; charset=utf-8"),
    (b"cache-control", b"no-store"),
    (b"x-accel-buffering", b"no"),
    (b"x-content-type-options", b"nosniff"),
]
OPENING = b"retry: 3000\n\n"
HEARTBEAT = b": alive\n\n"
END = b"event: end\ndata: {}\n\n"
"""Has no id: a client that comes back names the last event."""


CloudEvents = Annotated[
    str,
    msgspec.Meta(description="`id` is the position, `event` the CloudEvent's type, `data` the CloudEvent"),
]


Begin = Annotated[
    int,
    msgspec.Meta(
        ge=0,
        le=2**63 - 1,
        description="The position after which to begin; `Last-Event-ID` goes before it.",
    ),
]
WithTokens = Annotated[
    bool,
    msgspec.Meta(description="Also pieces of model answers as they are made: `event: token`, without id."),
]


class EventsQuery(msgspec.Struct, frozen=True, kw_only=True):
    """Where to begin. Without it: from the beginning for an execution, from now on for all events."""

    after: Begin | None = None


class ExecutionEventsQuery(EventsQuery, frozen=True, kw_only=True):
    """Where to begin, and what besides."""

    tokens: WithTokens = False


class EventStream:
    """The response: events as they come, a comment when none came, until the client or the stream ends."""

    def __init__(self, opening: AbstractAsyncContextManager[Subscription]) -> None:
        self._opening = opening

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async with self._opening as subscription:
            pouring = asyncio.create_task(pour(subscription, send))
            leaving = asyncio.create_task(left(receive))
            try:
                await asyncio.wait({pouring, leaving}, return_when=asyncio.FIRST_COMPLETED)
            finally:
                pouring.cancel()
                leaving.cancel()
                await asyncio.wait({pouring, leaving})
        if not pouring.cancelled() and (error := pouring.exception()):
            raise error


async def pour(subscription: Subscription, send: Send) -> None:
    await send({"type": "http.response.start", "status": 200, "headers": HEADERS})
    with suppress(TimeoutError):
        await send_chunk(send, OPENING)
        while not subscription.is_over:
            await send_chunk(send, await subscription.next(HEARTBEAT_S) or HEARTBEAT)
        await send_chunk(send, END if subscription.has_ended else HEARTBEAT)
        await send({"type": "http.response.body", "body": b"", "more_body": False})


async def send_chunk(send: Send, chunk: bytes) -> None:
    async with asyncio.timeout(STALLED_S):
        await send({"type": "http.response.body", "body": chunk, "more_body": True})


async def left(receive: Receive) -> None:
    """Returns when the client is gone."""
    while (await receive())["type"] != "http.disconnect":
        pass


@get(
    "/v1/events",
    opt=operation(
        "stream_events",
        "Everything that is recorded, as it happens",
        tag=TAG,
        query=EventsQuery,
        answer={200: CloudEvents},
        media_types=(MEDIA_TYPE,),
        problems=("malformed", "position_gone", "log_unavailable"),
        headers=("Last-Event-ID",),
    ),
)
async def stream_all(request: ApiRequest) -> ASGIApp:
    """CloudEvents in the order of the log, each once, without a gap; it never ends by itself."""
    after = place(request, read_query(request, EventsQuery).after)
    head = await check_position(request, after or 0)
    return EventStream(watching_all(live_of(request), head if after is None else after))


@get(
    "/v1/executions/{execution_id:str}/stream",
    opt=operation(
        "stream_execution",
        "The life of an execution, as it happens",
        tag=TAG,
        query=ExecutionEventsQuery,
        answer={200: CloudEvents, 204: None},
        media_types=(MEDIA_TYPE,),
        problems=("malformed", "not_found", "position_gone", "log_unavailable"),
        headers=("Last-Event-ID",),
    ),
)
async def stream_execution(request: ApiRequest, execution_id: FromPath[str]) -> ASGIApp:
    """Its history, then what happens, without a gap; ends after its last event with `event: end`."""
    query = read_query(request, ExecutionEventsQuery)
    after = place(request, query.after) or 0
    stream = f"execution-{checked_id('execution', execution_id)}"
    events = await request.parts.read_log.read_stream(stream)
    if not events:
        raise NotFound(f"there is no execution {execution_id!r}")
    await check_position(request, after or 0)
    if events[-1].tag in TERMINAL_TAGS and after >= events[-1].position:
        return Answer(204, b"")
    return EventStream(watching_execution(request, events, after, with_tokens=query.tokens))


def place(request: ApiRequest, after: int | None) -> int | None:
    """Where to begin: after `Last-Event-ID`, else after what the query says."""
    last_id = (request.header("last-event-id") or "").strip()
    if not last_id:
        return after
    if not last_id.isascii() or not last_id.isdecimal() or len(last_id) > 18:
        raise header_fault("Last-Event-ID", "expected the id of an event: a position in the log")
    return int(last_id)


def live_of(request: ApiRequest) -> LiveEvents:
    return cast("LiveEvents", request.app.state["live"])


@asynccontextmanager
async def watching_all(live: LiveEvents, after: int) -> AsyncIterator[Subscription]:
    with live.watch(None) as watch:
        yield AllEvents(live, watch, after)


@asynccontextmanager
async def watching_execution(
    request: ApiRequest, events: Sequence[Recorded], after: int, *, with_tokens: bool
) -> AsyncIterator[Subscription]:
    live = live_of(request)
    with live.watch(events[0].stream) as watch:
        pump = asyncio.create_task(pump_tokens(request, events[0].entity_id, watch)) if with_tokens else None
        try:
            yield ExecutionEvents(live, watch, events, after)
        finally:
            if pump is not None:
                pump.cancel()
                await asyncio.wait([pump])


async def pump_tokens(request: ApiRequest, execution_id: str, watch: Watch) -> None:
    """Pieces of model answers, for as long as they come; nothing depends on them."""
    while True:
        with suppress(KasalError, OSError):
            async with request.parts.subscribe_tokens(request.tenant, execution_id) as pieces:
                async for piece in pieces:
                    watch.push_token(piece)
        await asyncio.sleep(RETRY_S)
