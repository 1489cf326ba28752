"""The newest events of the log in memory: what this process has just committed need not be read back.

Filled by the appender, asked by the adapters' `read_all` before the database. Its one rule: it answers only
what it holds without a hole; for anything else it says nothing, and the database is asked.
"""

from __future__ import annotations

from collections.abc import Sequence

from application.ports import Append, Appended
from domain.message import Recorded

MAX_EVENTS = 4096
MAX_BYTES = 8 * 2**20


class Tail:
    """A run of events with consecutive positions; another process's events begin a new run."""

    def __init__(self) -> None:
        self._events: list[Recorded] = []
        self._size_bytes = 0

    def saw(self, append: Append, appended: Appended) -> None:
        """The command's events are committed, the last of them at `appended`."""
        count = len(append.events)
        first_position, first_version = appended.position - count + 1, appended.version - count + 1
        if self._events and self._events[-1].position + 1 != first_position:
            self._events.clear()
            self._size_bytes = 0
        for number, event in enumerate(append.events):
            recorded = Recorded(
                position=first_position + number,
                stream=append.stream,
                version=first_version + number,
                tag=event.tag,
                body=event.body,
                metadata=event.metadata,
            )
            self._events.append(recorded)
            self._size_bytes += len(event.body)
        if len(self._events) > 2 * MAX_EVENTS or self._size_bytes > MAX_BYTES:
            self._forget()

    def after(self, position: int, limit: int) -> Sequence[Recorded]:
        """At most `limit` events right behind the position; () when they are not all here, or not known."""
        if not self._events:
            return ()
        skip = position + 1 - self._events[0].position
        if not 0 <= skip < len(self._events):
            return ()
        return self._events[skip : skip + limit]

    def _forget(self) -> None:
        """The older half; more where the rest is large."""
        gone = max(len(self._events) - MAX_EVENTS, 0)
        self._size_bytes -= sum(len(event.body) for event in self._events[:gone])
        while self._size_bytes > MAX_BYTES // 2:
            self._size_bytes -= len(self._events[gone].body)
            gone += 1
        del self._events[:gone]
