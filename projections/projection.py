"""A projection, and what its fold is given: one fact after the other, and the rows it may change.

Imported by every read-model file. Its one rule: a fold is a function of the rows and the fact alone; it knows
no database, no clock and no other projection.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import Any, Protocol, TypeAlias, TypeVar

import msgspec

from domain.errors import KasalError
from domain.message import Event, Recorded, tag_of
from domain.registry import event_of
from projections.tables import Key, ReadTable

R = TypeVar("R", bound=msgspec.Struct)
E = TypeVar("E", bound=Event)


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


class Fact(msgspec.Struct, gc=False):
    """A recorded event as folds see it; decoded once, when the first fold asks for it.

    past  of an erasure: the events before it in its stream, as they read now
    """

    recorded: Recorded
    position: int
    stream: str
    version: int
    tag: str
    category: str
    entity_id: str
    past: tuple[Fact, ...] = ()
    _event: Event | None = None
    _at: str = ""

    @property
    def event(self) -> Event:
        """Raises `UnknownEvent` for a body that this release can not read."""
        if self._event is None:
            self._event = event_of(self.recorded)
        return self._event

    def of(self, kind: type[E]) -> E:
        """The event, which is of this kind. Raises `UnknownEvent` as `event` does."""
        event = self.event
        if not isinstance(event, kind):
            raise TypeError(f"position {self.position} is no {kind.__name__}")
        return event

    @property
    def at(self) -> str:
        """When it was recorded, as read tables write time."""
        if not self._at:
            self._at = timestamp(self.recorded.metadata.at)
        return self._at

    @property
    def tenant(self) -> str:
        return self.recorded.metadata.tenant


@lru_cache(maxsize=1024)
def timestamp(at: datetime) -> str:
    """ISO 8601 in UTC, always to the microsecond, so that texts sort as times do."""
    in_utc = at if at.tzinfo is UTC else at.astimezone(UTC)
    return f"{in_utc.isoformat(timespec='microseconds')[:-6]}Z"


def later(at: str, seconds: float) -> str:
    """A timestamp so many seconds after another."""
    return timestamp(datetime.fromisoformat(at) + timedelta(seconds=seconds))


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

    def remove_all(self, table: ReadTable[R], *beginning: str | int) -> None:
        """No row any more whose key begins so."""
        ...


class RowsAhead(Rows, Protocol):
    """Rows before the facts of a batch are folded."""

    def read_ahead(self, table: ReadTable[Any], keys: Sequence[Key]) -> None:
        """Rows that `get` will be asked for, with one query in place of one for each."""
        ...


Fold: TypeAlias = Callable[[Rows, Fact], None]
LookAhead: TypeAlias = Callable[[RowsAhead, Sequence[Fact]], None]


@dataclass(frozen=True)
class Projection:
    """A read model.

    version     of its tables and its fold: raise it when either changes, and the tables are built anew
    categories  of the streams that it folds
    look_ahead  is given the facts of a batch before they are folded: it may have rows read at once
    is_refolded the rows of an execution that is erased are dropped, and its events folded again; not where
                rows are made of several streams, which then may hold no content
    """

    name: str
    version: int
    tables: tuple[ReadTable[Any], ...]
    fold: Fold
    categories: tuple[str, ...]
    is_refolded: bool = True
    look_ahead: LookAhead | None = None


def tags(*events: type[Event]) -> frozenset[str]:
    """The stored tags of events, for a fold that reads only some and need not decode the others."""
    return frozenset(tag_of(event) for event in events)


def facts_of(events: Sequence[Recorded]) -> list[Fact]:
    return [fact_of(recorded) for recorded in events]


def fact_of(recorded: Recorded) -> Fact:
    stream = recorded.stream
    category, _, entity_id = stream.partition("-")
    return Fact(recorded, recorded.position, stream, recorded.version, recorded.tag, category, entity_id)
