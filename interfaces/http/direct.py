"""From the router straight to our handler: what Litestar would do in between, our routes do not need.

Litestar's middleware for every route. Its one rule: admitted first, then called; a handler is
`(request, **path parameters) -> an ASGI answer`, that of a WebSocket is `(socket, **path parameters)`. It
leaves out Litestar's own parsing of parameters and bodies, its injection and its serialization (measured: 14
of 80 us of a command).
"""

from __future__ import annotations

from litestar.enums import ScopeType
from litestar.types import ASGIApp, Receive, Scope, Send

from interfaces.http.admission import Admission
from interfaces.http.parts import Parts
from interfaces.http.request import ApiRequest
from interfaces.http.sockets import ApiSocket


class Direct:
    """ASGI middleware."""

    def __init__(self, app: ASGIApp, parts: Parts, admission: Admission) -> None:
        self._litestar = app
        self._parts = parts
        self._admission = admission
        self._admit = admission.admit

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == ScopeType.WEBSOCKET:
            socket = ApiSocket(scope, receive, send)
            socket.parts, socket.admission, socket.wire = self._parts, self._admission, (receive, send)
            await scope["route_handler"].fn(socket, **scope["path_params"])
            return
        if scope["method"] == "OPTIONS":  # Litestar's own handler
            await self._litestar(scope, receive, send)
            return
        request = ApiRequest(scope, receive, send)
        request.parts = self._parts
        await self._admit(request)
        answer: ASGIApp = await scope["route_handler"].fn(request, **scope["path_params"])
        await answer(scope, receive, send)
