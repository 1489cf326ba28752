"""What a client of a stream asks for, the same over SSE and WebSocket: where to begin, what to hear of.

Called by `events` and `sockets`. Its one rule: everything is checked before the stream begins, so that a
wrong wish is an ordinary problem (400, 404, 410, 503).
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager, suppress
from typing import Annotated, cast

import msgspec

from application.following import AllEvents, ExecutionEvents, Follower
from application.live_events import RETRY_S, TERMINAL_TAGS, LiveEvents, Watch
from domain.errors import Fault, KasalError, NotFound
from domain.event_filter import (
    EventFilter,
    EventType,
    FilterWorkflow,
    stored_types,
    unknown_types,
    wanted_tags,
)
from domain.execution import Status
from domain.message import Recorded
from domain.registry import EVENT_TYPES
from interfaces.http.headers import header_fault
from interfaces.http.identifiers import checked_id
from interfaces.http.queries import check_position, read_query
from interfaces.http.request import Incoming
from interfaces.problems import malformed

HEARTBEAT_S = 15.0
STALLED_S = 60.0
"""A client that takes nothing for so long is gone."""

Begin = Annotated[
    int,
    msgspec.Meta(
        ge=0,
        le=2**63 - 1,
        description="The position after which to begin; `Last-Event-ID` goes before it.",
    ),
]
Types = Annotated[
    tuple[EventType, ...],
    msgspec.Meta(
        max_length=50, description="Types, separated by commas: `execution.completed`, `execution.*`."
    ),
]
Statuses = Annotated[
    tuple[Status, ...],
    msgspec.Meta(max_length=8, description="Only events by which an execution gets one of these statuses."),
]
WithTokens = Annotated[
    bool, msgspec.Meta(description="Also pieces of model answers as they are made; they have no position.")
]


class EventsQuery(msgspec.Struct, frozen=True, kw_only=True):
    """Where to begin (from now on when it is left out) and what to hear of."""

    after: Begin | None = None
    type: Types = ()
    status: Statuses = ()
    workflow_id: FilterWorkflow | None = None


class ExecutionEventsQuery(msgspec.Struct, frozen=True, kw_only=True):
    """Where to begin (with the first event when it is left out), what to hear of, and what besides."""

    after: Begin | None = None
    type: Types = ()
    status: Statuses = ()
    tokens: WithTokens = False


Opening = AbstractAsyncContextManager[tuple[Follower, Watch]]


async def open_all(request: Incoming) -> Opening:
    """Every event. Raises `Refused` (400, 410), `Unavailable`."""
    query = read_query(request, EventsQuery)
    wanted = event_filter(query.type, query.status, query.workflow_id)
    after = place(request, query.after)
    head = await check_position(request, after or 0)
    live_of(request).check_room()
    return watching_all(live_of(request), head if after is None else after, wanted)


async def open_execution(request: Incoming, execution_id: str) -> Opening | None:
    """One execution; None when its last event lies before where the client begins. Raises also `NotFound`."""
    query = read_query(request, ExecutionEventsQuery)
    wanted = event_filter(query.type, query.status)
    after = place(request, query.after) or 0
    events = await request.parts.read_log.read_stream(f"execution-{checked_id('execution', execution_id)}")
    if not events:
        raise NotFound(f"there is no execution {execution_id!r}")
    await check_position(request, after)
    if events[-1].tag in TERMINAL_TAGS and after >= events[-1].position:
        return None
    live_of(request).check_room()
    return watching_execution(request, events, after, wanted, with_tokens=query.tokens)


def event_filter(
    types: tuple[str, ...], statuses: tuple[Status, ...], workflow_id: str | None = None
) -> EventFilter:
    """Raises `Refused` (400) for a type that no event has."""
    names = stored_types(types)
    if unknown := unknown_types(names, EVENT_TYPES):
        expected = "expected one of the event catalogue, or a kind such as execution.*"
        message = f"there is no type {unknown[0]!r}; {expected}"
        raise malformed(f"the query is wrong: /query/type {message}", Fault("/query/type", message))
    return EventFilter(types=names, statuses=statuses, workflow_id=workflow_id)


def place(request: Incoming, after: int | None) -> int | None:
    """Where to begin: after `Last-Event-ID`, else after what the query says."""
    last_id = (request.header("last-event-id") or "").strip()
    if not last_id:
        return after
    if not last_id.isascii() or not last_id.isdecimal() or len(last_id) > 18:
        raise header_fault("Last-Event-ID", "expected the id of an event: a position in the log")
    return int(last_id)


def live_of(request: Incoming) -> LiveEvents:
    return cast("LiveEvents", request.app.state["live"])


@asynccontextmanager
async def watching_all(
    live: LiveEvents, after: int, wanted: EventFilter
) -> AsyncIterator[tuple[Follower, Watch]]:
    wants = wanted_tags(wanted)
    with live.watch(None, wants) as watch:
        yield AllEvents(live, watch, after, wants, wanted.workflow_id), watch


@asynccontextmanager
async def watching_execution(
    request: Incoming, events: Sequence[Recorded], after: int, wanted: EventFilter, *, with_tokens: bool
) -> AsyncIterator[tuple[Follower, Watch]]:
    live = live_of(request)
    with live.watch(events[0].stream) as watch:
        pump = asyncio.create_task(pump_tokens(request, events[0].entity_id, watch)) if with_tokens else None
        try:
            yield ExecutionEvents(live, watch, events, after, wanted_tags(wanted)), watch
        finally:
            if pump is not None:
                pump.cancel()
                await asyncio.wait([pump])


async def pump_tokens(request: Incoming, execution_id: str, watch: Watch) -> None:
    """Pieces of model answers, for as long as they come; nothing depends on them."""
    while True:
        with suppress(KasalError, OSError):
            async with request.parts.subscribe_tokens(request.tenant, execution_id) as pieces:
                async for piece in pieces:
                    watch.push_token(piece)
        await asyncio.sleep(RETRY_S)
