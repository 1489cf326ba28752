"""A projection, and what its fold is given: one fact after the other, and the rows it may change.

Imported by every read-model file. Its one rule: a fold is a function of the rows and the fact alone; it knows
no database, no clock and no other projection.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Protocol, TypeAlias, TypeVar

import msgspec

from domain.errors import KasalError, UnknownEvent
from domain.message import Event, Recorded, tag_of
from domain.registry import EVENT_TYPES, event_of
from projections.tables import Key, ReadTable

R = TypeVar("R", bound=msgspec.Struct)


FOLD_ERRORS = (
    ArithmeticError,
    AssertionError,
    AttributeError,
    LookupError,
    RuntimeError,
    TypeError,
    ValueError,
    KasalError,
    msgspec.MsgspecError,
)
"""What a fold can raise; the drivers' errors are none of these."""


class Fact:
    """A recorded event as folds see it; decoded once, when the first fold asks for it."""

    __slots__ = ("_event", "category", "entity_id", "position", "recorded", "stream", "tag", "version")

    def __init__(self, recorded: Recorded) -> None:
        self.recorded = recorded
        self.position = recorded.position
        self.stream = recorded.stream
        self.version = recorded.version
        self.tag = recorded.tag
        self.category, _, self.entity_id = recorded.stream.partition("-")
        self._event: Event | None = None

    @property
    def event(self) -> Event:
        """Raises `UnknownEvent` for a body that this release can not read."""
        if self._event is None:
            self._event = event_of(self.recorded)
        return self._event

    @property
    def at(self) -> str:
        """When it was recorded, as read tables write time."""
        return timestamp(self.recorded.metadata.at)

    @property
    def tenant(self) -> str:
        return self.recorded.metadata.tenant

    def check_known(self) -> None:
        """Raises `UnknownEvent` for a tag that this release does not have."""
        if self.tag not in EVENT_TYPES:
            raise UnknownEvent(f"position {self.position}: unknown event {self.tag!r}")


def timestamp(at: datetime) -> str:
    """ISO 8601 in UTC, always to the microsecond, so that texts sort as times do."""
    return at.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ") if at.year > 999 else at.isoformat()


def milliseconds_between(start: str, end: str) -> int:
    """From one timestamp to a later one; 0 where a clock was set back."""
    elapsed = datetime.fromisoformat(end) - datetime.fromisoformat(start)
    return max(0, round(elapsed.total_seconds() * 1000))


class Rows(Protocol):
    """The rows of one projection, as they are after the facts folded so far."""

    def get(self, table: ReadTable[R], *key: str | int) -> R | None:
        """The row, to look at; None when there is none."""
        ...

    def change(self, table: ReadTable[R], *key: str | int) -> R:
        """The row, to be changed in place. Raises `LookupError` when there is none."""
        ...

    def put(self, table: ReadTable[R], row: R) -> None:
        """A new row, or one in place of the row with the same key."""
        ...

    def remove(self, table: ReadTable[R], *key: str | int) -> None:
        """No such row any more; there need not be one."""
        ...


Fold: TypeAlias = Callable[[Rows, Fact], None]


@dataclass(frozen=True)
class Projection:
    """A read model.

    version     of its tables and its fold: raise it when either changes, and the tables are built anew
    categories  of the streams that it folds
    """

    name: str
    version: int
    tables: tuple[ReadTable[Any], ...]
    fold: Fold
    categories: tuple[str, ...]


def tags(*events: type[Event]) -> frozenset[str]:
    """The stored tags of events, for a fold that reads only some and need not decode the others."""
    return frozenset(tag_of(event) for event in events)


def facts_of(events: Sequence[Recorded]) -> list[Fact]:
    return [Fact(recorded) for recorded in events]


__all__ = [
    "FOLD_ERRORS",
    "Fact",
    "Fold",
    "Key",
    "Projection",
    "Rows",
    "facts_of",
    "milliseconds_between",
    "tags",
    "timestamp",
]
