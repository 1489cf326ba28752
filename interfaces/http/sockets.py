"""WebSockets: the same events as SSE, each a text message that is a CloudEvent (`cloudevents.json`).

Its one rule: whoever is cut is told where to go on: the reason of a close is `after=<position>`. 1000: the
execution has ended; 1008: not allowed, or a wrong wish; 1012: the process ends; 1013: the client takes
nothing. Besides events of the log come `io.kasal.stream.position` (where a filtered client would go on) and
`io.kasal.stream.token`. What a client sends after its token is not read.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Any, cast

import msgspec
from litestar import WebSocket, websocket
from litestar.datastructures import State
from litestar.params import FromPath
from litestar.types import Receive, Send

from application.following import Follower
from domain.errors import KasalError, Unauthenticated
from interfaces import problems
from interfaces.http import streaming
from interfaces.http.admission import Admission
from interfaces.http.errors import problem_for
from interfaces.http.request import Incoming
from interfaces.http.streaming import Opening
from interfaces.problems import Refused

SUBPROTOCOL = "cloudevents.json"
TOKEN_WAIT_S = 10.0
MAX_REASON_BYTES = 123
ENDED, FORBIDDEN, GOING_AWAY, TRY_AGAIN = 1000, 1008, 1012, 1013


class ApiSocket(Incoming, WebSocket[None, None, State]):
    """A WebSocket, from its opening on. wire: the server's receive and send."""

    __slots__ = ("_by_name", "admission", "parts", "wire")

    admission: Admission
    wire: tuple[Receive, Send]

    def _remember(self, by_name: dict[str, str]) -> None:
        self._by_name = by_name


class FirstMessage(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What a client sends first that could not send the header `Authorization`."""

    token: str


class Notice(msgspec.Struct, frozen=True):
    """A CloudEvent that is not of the log."""

    id: str
    type: str
    data: Any
    source: str = "/streams"
    specversion: str = "1.0"


@websocket("/v1/events/ws")
async def all_events(socket: WebSocket[None, None, State]) -> None:
    """Everything that is recorded; parameters as of `GET /v1/events`."""
    ours = cast("ApiSocket", socket)
    await Conversation(ours).hold(lambda: streaming.open_all(ours))


@websocket("/v1/executions/{execution_id:str}/ws")
async def one_execution(socket: WebSocket[None, None, State], execution_id: FromPath[str]) -> None:
    """The life of an execution; parameters as of `GET /v1/executions/{execution_id}/stream`."""
    ours = cast("ApiSocket", socket)
    await Conversation(ours).hold(lambda: streaming.open_execution(ours, execution_id))


Open = Callable[[], Awaitable[Opening | None]]


class Conversation:
    """One client, from its opening to its close."""

    def __init__(self, socket: ApiSocket) -> None:
        self._socket = socket
        self._receive, self._send = socket.wire
        self._form = socket.parts.to_cloudevent
        self._is_open = False

    async def hold(self, open_stream: Open) -> None:
        """Until the client, the stream or the process ends."""
        with suppress(OSError):  # the client has gone
            try:
                await self._hold(open_stream)
            except KasalError as error:
                await self._refuse(error)

    async def _hold(self, open_stream: Open) -> None:
        await self._receive()  # websocket.connect
        is_admitted = self._socket.admission.admit_socket(self._socket)
        offered = self._socket.scope["subprotocols"]
        if offered and SUBPROTOCOL not in offered:
            raise Refused("malformed", f"Sec-WebSocket-Protocol: expected {SUBPROTOCOL}")
        if not is_admitted:
            await self._accept()
            self._socket.admission.check_token(await self._token())
        opening = await open_stream()
        if not self._is_open:
            await self._accept()
        if opening is None:
            await self._close(ENDED, "the execution has ended before that position")
            return
        async with opening as (follower, _):
            await self._until_gone(follower)

    async def _accept(self) -> None:
        subprotocol = SUBPROTOCOL if self._socket.scope["subprotocols"] else None
        self._is_open = True
        await self._send({"type": "websocket.accept", "subprotocol": subprotocol, "headers": []})

    async def _token(self) -> str:
        try:
            async with asyncio.timeout(TOKEN_WAIT_S):
                message: Any = await self._receive()
        except TimeoutError:
            raise Unauthenticated(f"no token came within {TOKEN_WAIT_S:g} s") from None
        if message["type"] == "websocket.disconnect":
            raise ConnectionError
        try:
            return msgspec.json.decode(message.get("text") or message.get("bytes"), type=FirstMessage).token
        except (ValueError, RecursionError, TypeError):
            raise Unauthenticated('expected {"token": "..."} as the first message') from None

    async def _until_gone(self, follower: Follower) -> None:
        pouring = asyncio.create_task(self._pour(follower))
        leaving = asyncio.create_task(self._left())
        try:
            await asyncio.wait({pouring, leaving}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            pouring.cancel()
            leaving.cancel()
            await asyncio.wait({pouring, leaving})
        if not pouring.cancelled() and (error := pouring.exception()):
            raise error

    async def _left(self) -> None:
        while (await self._receive())["type"] != "websocket.disconnect":
            pass

    async def _pour(self, follower: Follower) -> None:
        told = follower.at
        try:
            while not follower.is_over:
                frames = await follower.next(streaming.HEARTBEAT_S)
                for frame in frames:
                    await self._say(frame.written(self._form))
                    told = frame.recorded.position
                tokens = follower.take_tokens()
                for piece in tokens:
                    await self._say(self._notice("token", msgspec.Raw(piece)))
                if not frames and not tokens and follower.at > told:
                    told = follower.at
                    await self._say(self._notice("position", {"position": told}))
        except TimeoutError:
            await self._close(TRY_AGAIN, f"after={told}")
        else:
            await self._close(ENDED if follower.has_ended else GOING_AWAY, f"after={told}")

    def _notice(self, kind: str, data: object) -> bytes:
        return msgspec.json.encode(Notice(self._socket.parts.clock.new_id(), f"io.kasal.stream.{kind}", data))

    async def _say(self, message: bytes) -> None:
        async with asyncio.timeout(streaming.STALLED_S):
            await self._send({"type": "websocket.send", "text": message.decode(), "bytes": None})

    async def _refuse(self, error: KasalError) -> None:
        """Before the opening with a problem, after it with a close."""
        problem, fields = problem_for(self._socket, error)
        if self._is_open:
            code = TRY_AGAIN if problem.status >= 500 else FORBIDDEN
            await self._close(code, f"{problem.code}: {problem.detail}")
            return
        fields["Content-Type"] = problems.MEDIA_TYPE
        headers = [(name.lower().encode(), value.encode("latin-1")) for name, value in fields.items()]
        await self._raw_send(type="websocket.http.response.start", status=problem.status, headers=headers)
        await self._raw_send(type="websocket.http.response.body", body=msgspec.json.encode(problem))

    async def _raw_send(self, **message: object) -> None:
        """A message of the extension "WebSocket denial response", which Litestar's types do not have."""
        send: Any = self._send
        await send(message)

    async def _close(self, code: int, reason: str) -> None:
        shortened = reason.encode()[:MAX_REASON_BYTES].decode(errors="ignore")
        with suppress(TimeoutError):
            async with asyncio.timeout(streaming.STALLED_S):
                await self._send({"type": "websocket.close", "code": code, "reason": shortened})
