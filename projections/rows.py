"""The rows that a build's folds are working on: read once, changed in memory, written once a batch.

Used by the engine, one for each build. Its one rule: what it remembers is what the tables hold at the build's
position; whoever can not be sure of that calls `forget`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import islice
from typing import Any, TypeVar, cast

import msgspec

from projections.database.shape import Change, RowRefused, Session
from projections.projection import FOLD_ERRORS, Fact, Projection
from projections.tables import Key, ReadTable, Shape, Values

REMEMBERED = 10_000
"""Rows of one table that stay in memory between batches."""

R = TypeVar("R", bound=msgspec.Struct)


class _TableRows:
    """known: by key; None is a row that does not exist. changed: keys to write. swept: beginnings of keys
    under which the table's rows are to go, before any is written."""

    def __init__(self, shape: Shape) -> None:
        self.shape = shape
        self.known: dict[Key, msgspec.Struct | None] = {}
        self.changed: dict[Key, None] = {}
        self.swept: dict[Key, None] = {}

    def is_swept(self, key: Key) -> bool:
        return bool(self.swept) and any(key[:size] in self.swept for size in range(1, len(key) + 1))


class WorkingRows:
    """`projections.projection.Rows`, over a session that is set for the time of one transaction."""

    def __init__(self, projection: Projection, suffix: str) -> None:
        self._projection = projection
        self._suffix = suffix
        self._hold: Callable[[], None] = _nothing
        self._session: Session | None = None
        self._tables: dict[str, _TableRows] = {}
        self.forget()

    def forget(self) -> None:
        """Remember nothing: the next look reads the tables."""
        self._tables = {
            table.name: _TableRows(table.shape(self._suffix)) for table in self._projection.tables
        }

    def begin(self, session: Session, facts: Sequence[Fact], hold: Callable[[], None]) -> None:
        """Work in this transaction; read at once the rows that these facts' streams have.

        hold: has the build's row held by the session, as whoever touches its tables needs it; may be called
        more than once.
        """
        self._session = session
        self._hold = hold
        for table in self._projection.tables:
            if table.category is not None:
                self._read_streams(table, [fact for fact in facts if fact.category == table.category])
        if self._projection.look_ahead is not None:
            self._projection.look_ahead(self, facts)

    def get(self, table: ReadTable[R], *key: str | int) -> R | None:
        rows = self._tables[table.name]
        if key not in rows.known:
            if rows.is_swept(key):
                return None
            self._read(table, rows, [key])
        return cast("R | None", rows.known[key])

    def read_ahead(self, table: ReadTable[Any], keys: Sequence[Key]) -> None:
        """Rows that `get` will ask for, at once."""
        rows = self._tables[table.name]
        if wanted := [key for key in keys if key not in rows.known and not rows.is_swept(key)]:
            self._read(table, rows, wanted)

    def change(self, table: ReadTable[R], *key: str | int) -> R:
        rows = self._tables[table.name]
        row = rows.known.get(key)
        if row is None and (row := self.get(table, *key)) is None:
            raise LookupError(f"{table.name} has no row {key}")
        rows.changed[key] = None
        return cast("R", row)

    def put(self, table: ReadTable[R], row: R) -> None:
        rows = self._tables[table.name]
        key = table.key_of(row)
        rows.known[key] = row
        rows.changed[key] = None

    def remove(self, table: ReadTable[R], *key: str | int) -> None:
        rows = self._tables[table.name]
        rows.known[key] = None
        rows.changed[key] = None

    def remove_all(self, table: ReadTable[R], *beginning: str | int) -> None:
        rows = self._tables[table.name]
        for key in [key for key in rows.known if key[: len(beginning)] == beginning]:
            del rows.known[key]
            rows.changed.pop(key, None)
        rows.swept[beginning] = None

    def sweep(self, session: Session) -> None:
        """What goes by the beginning of its key; before `changes` are written."""
        for table in self._projection.tables:
            rows = self._tables[table.name]
            for beginning in rows.swept:
                self._hold()
                session.sweep(rows.shape, beginning)

    def changes(self) -> list[Change]:
        """Every changed row."""
        tables = ((table, self._tables[table.name]) for table in self._projection.tables)
        return [change_of(table, rows) for table, rows in tables if rows.changed]

    def settle(self) -> None:
        """After the commit: nothing is left to write."""
        for table in self._projection.tables:
            rows = self._tables[table.name]
            rows.changed.clear()
            rows.swept.clear()
            surplus = len(rows.known) - (0 if table.written_once else REMEMBERED)
            for key in list(islice(rows.known, max(0, surplus))):
                del rows.known[key]

    def _read_streams(self, table: ReadTable[Any], facts: Sequence[Fact]) -> None:
        """A stream whose first event is among the facts has no row yet."""
        rows = self._tables[table.name]
        wanted: dict[Key, None] = {}
        for fact in facts:
            key = (fact.entity_id,)
            if key in rows.known or key in wanted:
                continue
            if fact.version == 1:
                rows.known[key] = None
            else:
                wanted[key] = None
        if wanted:
            self._read(table, rows, list(wanted))

    def _read(self, table: ReadTable[Any], rows: _TableRows, keys: Sequence[Key]) -> None:
        if self._session is None:
            raise RuntimeError("rows are read inside a transaction only")
        self._hold()
        rows.known.update(dict.fromkeys(keys))
        for document in self._session.documents(rows.shape, keys):
            row = table.row_of(document)
            rows.known[table.key_of(row)] = row


def _nothing() -> None:
    """No transaction has begun."""


def change_of(table: ReadTable[Any], rows: _TableRows) -> Change:
    kept = [row for key in rows.changed if (row := rows.known[key]) is not None]
    gone = [key for key in rows.changed if rows.known[key] is None]
    return Change(rows.shape, rendered(table, kept), gone)


def rendered(table: ReadTable[R], rows: Sequence[R]) -> list[Values]:
    """Raises `RowRefused` where a fold has put something into a row that is no JSON."""
    try:
        return [table.values(row) for row in rows]
    except FOLD_ERRORS as error:
        raise RowRefused(f"{table.name}: {error}") from error
