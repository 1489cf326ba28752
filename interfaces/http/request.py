"""The request as our routes see it: headers as one plain dict, and the application's parts.

Given to Litestar as its request class. Its one rule: a header that came twice is one list, as HTTP has it.
"""

from __future__ import annotations

from typing import Any, cast

from litestar import Litestar, Request
from litestar.datastructures import State

from interfaces.http.parts import Parts

TENANT = "default"


class Incoming:
    """What an HTTP request and the opening of a WebSocket have in common. `parts`: set by `direct`."""

    __slots__ = ()

    parts: Parts
    scope: Any
    _by_name: dict[str, str]

    def header(self, name: str) -> str | None:
        """The header's value; `name` in lower case. Headers are decoded once, when the first is asked for."""
        try:
            by_name = self._by_name
        except AttributeError:
            by_name = {}
            self._remember(by_name)
            for raw_name, raw_value in self.scope["headers"]:
                key, value = raw_name.decode("latin-1"), raw_value.decode("latin-1")
                by_name[key] = f"{by_name[key]}, {value}" if key in by_name else value
        return by_name.get(name)

    def _remember(self, by_name: dict[str, str]) -> None:
        raise NotImplementedError

    @property
    def app(self) -> Litestar:
        return cast("Litestar", self.scope["litestar_app"])

    @property
    def tenant(self) -> str:
        """Until identities come there is one."""
        return TENANT

    @property
    def actor(self) -> str:
        return "user:api-token" if self.parts.settings.api_token else "user:local-administrator"


class ApiRequest(Incoming, Request[None, None, State]):
    """A request to a route."""

    __slots__ = ("_by_name", "parts")

    def _remember(self, by_name: dict[str, str]) -> None:
        self._by_name = by_name
