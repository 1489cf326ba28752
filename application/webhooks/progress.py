"""How far the delivery of each webhook has come, so that another process goes on there.

Used by the delivery. Its one rule: a save names the save that it follows on; whoever does not follow on has
lost the right to deliver. What is lost with the store is sent again, never left out: a webhook without a
progress begins where its events say.
"""

from __future__ import annotations

from typing import Protocol

import msgspec


class ProgressMoved(Exception):
    """Somebody else has saved since."""


class ProgressStore(Protocol):
    """A small document for each key; adapters: memory, JetStream."""

    async def load(self, key: str) -> tuple[bytes, int]:
        """The document and its revision; (b"", 0) when there is none. Raises `Unavailable`."""
        ...

    async def save(self, key: str, body: bytes, revision: int) -> int:
        """The new revision. Raises `ProgressMoved` unless `revision` is the current one; `Unavailable`."""
        ...


class LaneProgress(msgspec.Struct, frozen=True, array_like=True):
    """An execution of which not everything is delivered: the event that is next, and how it went so far.

    position, version  of the event
    attempts, since    that failed, and when the first did (unix time); next_at: when the next may be made
    """

    position: int
    version: int
    attempts: int = 0
    since: float = 0.0
    next_at: float = 0.0


class Progress(msgspec.Struct, frozen=True):
    """since: the version of the subscription's stream that said where to begin. at: up to this position
    everything is delivered, but what `lanes` name. last_taken: unix time."""

    since: int
    at: int
    lanes: dict[str, LaneProgress] = {}
    last_taken: float = 0.0
