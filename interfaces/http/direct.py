"""From the router straight to our handler: what Litestar would do in between, our routes do not need.

Litestar's middleware for every route. Its one rule: admitted first, then called; a handler is
`(request, **path parameters) -> an ASGI answer`. It leaves out Litestar's own parsing of parameters and
bodies, its injection and its serialization (measured: 14 of 80 us of a command).
"""

from __future__ import annotations

from typing import cast

from litestar.types import ASGIApp, HTTPScope, Receive, Scope, Send

from interfaces.http.admission import Admission
from interfaces.http.parts import Parts
from interfaces.http.request import ApiRequest


class Direct:
    """ASGI middleware."""

    def __init__(self, app: ASGIApp, parts: Parts, admission: Admission) -> None:
        self._litestar = app
        self._parts = parts
        self._admit = admission.admit

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if cast("HTTPScope", scope)["method"] == "OPTIONS":  # Litestar's own handler
            await self._litestar(scope, receive, send)
            return
        request = ApiRequest(scope, receive, send)
        request.parts = self._parts
        await self._admit(request)
        answer: ASGIApp = await scope["route_handler"].fn(request, **scope["path_params"])
        await answer(scope, receive, send)
