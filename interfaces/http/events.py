"""Server-sent events: the life of one execution, and everything that is recorded.

Its one rule: `id` is the position in the log, so a client that comes back with `Last-Event-ID` (or `?after=`)
goes on where it was. A stream of an execution ends after the execution's last event with `event: end`; asked
again from there it answers 204, at which an `EventSource` stops.
"""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import Annotated

import msgspec
from litestar import get
from litestar.params import FromPath
from litestar.types import ASGIApp, Receive, Scope, Send

from application.following import Follower
from application.live_events import Form
from domain.message import Recorded
from interfaces.http import streaming
from interfaces.http.answers import Answer
from interfaces.http.operation import operation
from interfaces.http.request import ApiRequest
from interfaces.http.streaming import EventsQuery, ExecutionEventsQuery, Opening

TAG = "Events"
MEDIA_TYPE = "text/event-stream"

HEADERS = [
    (b"content-type", b"text/event-stream; charset=utf-8"),
    (b"cache-control", b"no-store"),
    (b"x-accel-buffering", b"no"),
    (b"x-content-type-options", b"nosniff"),
]
OPENING = b"retry: 3000\n"
HEARTBEAT = b": alive\n"
"""Neither ends with an empty line: there is a client (httpx-sse) to which that is an event without data."""

POSITION = b"id: %d\nevent: position\ndata: {}\n\n"
"""To a client whose filter left out everything since its last event: where it would go on."""

END = b"event: end\ndata: {}\n\n"
"""Has no id: a client that comes back names the last event."""

CloudEvents = Annotated[
    str,
    msgspec.Meta(description="`id` is the position, `event` the CloudEvent's type, `data` the CloudEvent"),
]

LINE_ENDS = (
    (b"\n", b" "),
    (b"\r", b" "),
    ("\u0085".encode(), b"\\u0085"),
    ("\u2028".encode(), b"\\u2028"),
    ("\u2029".encode(), b"\\u2029"),
)
"""What ends a line, by the standard or to a client that knows Unicode; in JSON each has a spelling."""


def one_line(document: bytes) -> bytes:
    """The same JSON document without anything that a reader of lines might take for the end of one."""
    for end, spelling in LINE_ENDS:
        document = document.replace(end, spelling)
    return document


class Typed(msgspec.Struct, frozen=True):
    """What the name of a server-sent event is taken from."""

    type: str


def server_sent(to_cloudevent: Form) -> Form:
    """`id` is the position, `event` the CloudEvent's type, `data` the CloudEvent."""

    def written(recorded: Recorded) -> bytes:
        data = to_cloudevent(recorded)
        name = _typed.decode(data).type.encode()
        return b"id: %d\nevent: %b\ndata: %b\n\n" % (recorded.position, name, one_line(data))

    return written


_typed = msgspec.json.Decoder(Typed)


class EventStream:
    """The response: events as they come, a comment when none came, until the client or the stream ends."""

    def __init__(self, opening: Opening, form: Form) -> None:
        self._opening = opening
        self._form = form

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async with self._opening as (follower, _):
            pouring = asyncio.create_task(self._pour(follower, send))
            leaving = asyncio.create_task(left(receive))
            try:
                await asyncio.wait({pouring, leaving}, return_when=asyncio.FIRST_COMPLETED)
            finally:
                pouring.cancel()
                leaving.cancel()
                await asyncio.wait({pouring, leaving})
        if not pouring.cancelled() and (error := pouring.exception()):
            raise error

    async def _pour(self, follower: Follower, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": HEADERS})
        with suppress(TimeoutError):
            await send_chunk(send, OPENING)
            told = follower.at
            while not follower.is_over:
                frames = await follower.next(streaming.HEARTBEAT_S)
                tokens = [b"event: token\ndata: %b\n\n" % one_line(each) for each in follower.take_tokens()]
                chunk = b"".join([frame.written(self._form) for frame in frames] + tokens)
                quiet = POSITION % follower.at if follower.at > told else HEARTBEAT
                await send_chunk(send, chunk or quiet)
                told = follower.at if frames or not chunk else told
            await send_chunk(send, END if follower.has_ended else HEARTBEAT)
            await send({"type": "http.response.body", "body": b"", "more_body": False})


async def send_chunk(send: Send, chunk: bytes) -> None:
    async with asyncio.timeout(streaming.STALLED_S):
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
        problems=("malformed", "position_gone", "log_unavailable", "unavailable"),
        headers=("Last-Event-ID",),
    ),
)
async def stream_all(request: ApiRequest) -> ASGIApp:
    """CloudEvents in the order of the log, each once, without a gap; it never ends by itself. Filters narrow
    it down; what they leave out still moves the place (`event: position`)."""
    return EventStream(await streaming.open_all(request), form_of(request))


@get(
    "/v1/executions/{execution_id:str}/stream",
    opt=operation(
        "stream_execution",
        "The life of an execution, as it happens",
        tag=TAG,
        query=ExecutionEventsQuery,
        answer={200: CloudEvents, 204: None},
        media_types=(MEDIA_TYPE,),
        problems=("malformed", "not_found", "position_gone", "log_unavailable", "unavailable"),
        headers=("Last-Event-ID",),
    ),
)
async def stream_execution(request: ApiRequest, execution_id: FromPath[str]) -> ASGIApp:
    """Its history, then what happens, without a gap; ends after its last event with `event: end`. Pieces of
    model answers come, when asked for, as `event: token`, without id."""
    opening = await streaming.open_execution(request, execution_id)
    return Answer(204, b"") if opening is None else EventStream(opening, form_of(request))


def form_of(request: ApiRequest) -> Form:
    """The same function for all clients, so that an event is written once."""
    form: Form = request.app.state["server_sent"]
    return form
