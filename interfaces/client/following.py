"""A stream over SSE, line by line: what comes, and where to go on after a cut. No I/O.

Called by both clients. Its one rule: the place moves on only behind what was given to the caller.
"""

from __future__ import annotations

import msgspec

from interfaces.client import shapes
from interfaces.client.calls import parameters
from interfaces.client.shapes import Event, Token

PAUSE_S = (0.2, 5.0)


class Following:
    """One stream's state. has_ended: the execution has, there is nothing more to come."""

    def __init__(self, path: str, after: int | None, **params: object) -> None:
        self.path = path
        self._after = after
        self._params = parameters(params)
        self._fields: dict[str, str] = {}
        self._pause_s = PAUSE_S[0]
        self.has_ended = False

    @property
    def params(self) -> dict[str, str]:
        after = {} if self._after is None else {"after": str(self._after)}
        return self._params | after

    def begin(self) -> None:
        """A new connection: half an event of the last one is forgotten."""
        self._fields = {}

    def pause_s(self) -> float:
        """How long to wait before the next connection; longer each time that nothing came."""
        pause_s, self._pause_s = self._pause_s, min(2 * self._pause_s, PAUSE_S[1])
        return pause_s

    def take(self, line: str) -> Event | Token | None:
        """What the line completes."""
        if line.startswith(":"):
            return None
        if line:
            name, _, value = line.partition(":")
            self._fields[name] = value.removeprefix(" ")
            return None
        fields, self._fields = self._fields, {}
        return self._completed(fields)

    def _completed(self, fields: dict[str, str]) -> Event | Token | None:
        kind = fields.get("event", "")
        if kind == "end":
            self.has_ended = True
        elif kind == "token":
            return msgspec.json.decode(fields["data"], type=Token)
        elif kind == "position":
            self._after = int(fields["id"])
        elif "data" in fields:
            found = shapes.event(fields["data"])
            self._after, self._pause_s = found.position, PAUSE_S[0]
            return found
        return None
