"""Who may ask: the bearer token where one is set, the loopback's own names where none is.

Called before every route but the public ones. Its one rule: a page of another site that a browser on this
machine has open gets nothing, by whatever name it calls this machine (DNS rebinding).
"""

from __future__ import annotations

import hmac
from typing import Any, cast

from litestar import Request

from domain.errors import Unauthenticated
from infrastructure.settings import Settings
from interfaces.http.headers import accepts
from interfaces.http.request import ApiRequest, Incoming
from interfaces.problems import Refused

LOOPBACK = frozenset({"localhost", "127.0.0.1", "[::1]"})
PUBLIC = "is_public"
"""The key in a route's `opt` for a route that needs no credentials."""

ANSWERS = "answers"
"""The key in a route's `opt` for the media types it can answer; JSON where it has none."""


class Admission:
    """Litestar's `before_request`."""

    def __init__(self, settings: Settings) -> None:
        self._token = settings.api_token.encode()
        host = f"[{settings.host}]" if ":" in settings.host else settings.host.lower()
        self._hosts = LOOPBACK | {host}

    async def admit(self, request: Request[Any, Any, Any]) -> None:
        """Raises `Unauthenticated` (401), `Refused` (403, 406, 421)."""
        request = cast("ApiRequest", request)
        options = request.route_handler.opt
        if self._token:
            if not options.get(PUBLIC):
                self._check_token(request.header("authorization") or "")
        else:
            self._check_origin(request.header("host"), request.header("origin"))
        accept = request.header("accept")
        if accept is not None and accept != "*/*":
            check_accept(accept, options.get(ANSWERS, ("application/json",)))

    def admit_socket(self, socket: Incoming) -> bool:
        """False: the token is still to come, in the first message. A browser can not send a header of its own
        with a WebSocket, and asks nobody before it opens one: the page's origin is compared, token or not.

        Raises as `admit` does.
        """
        host, origin = socket.header("host"), socket.header("origin")
        if not self._token:
            self._check_origin(host, origin)
            return True
        check_same_origin(host, origin)
        authorization = socket.header("authorization")
        if authorization is not None:
            self._check_token(authorization)
        return authorization is not None

    def check_token(self, token: str) -> None:
        """Raises `Unauthenticated`."""
        if not hmac.compare_digest(token.encode(), self._token):
            raise Unauthenticated("expected the token of this installation")

    def _check_token(self, authorization: str) -> None:
        scheme, _, token = authorization.partition(" ")
        given = token.strip().encode("latin-1")
        if scheme.lower() != "bearer" or not hmac.compare_digest(given, self._token):
            raise Unauthenticated("expected Authorization: Bearer <the token of this installation>")

    def _check_origin(self, host: str | None, origin: str | None) -> None:
        if host is not None and host_name(host) not in self._hosts:
            raise Refused(
                "misdirected", f"Host is {host[:200]!r}; expected a name of this machine's loopback"
            )
        check_same_origin(host, origin)


def check_same_origin(host: str | None, origin: str | None) -> None:
    if origin is not None and origin.lower() not in (f"http://{host}".lower(), f"https://{host}".lower()):
        raise Refused("forbidden", f"Origin is {origin[:200]!r}; expected the origin of this API")


def host_name(host: str) -> str:
    """`[::1]` of `[::1]:8700`, `localhost` of `LOCALHOST`."""
    name, colon, port = host.rpartition(":")
    return (name if colon and port.isdecimal() else host).lower()


def check_accept(accept: str, offered: tuple[str, ...]) -> None:
    if not any(accepts(accept, media_type) for media_type in offered):
        raise Refused("not_acceptable", f"Accept is {accept[:200]!r}; this answers {', '.join(offered)}")
