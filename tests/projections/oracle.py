"""What read tables must hold, without an engine or a database: a fold over plain dicts, one event at a time.

Used by the tests of the engine, which compare with what a database holds.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypeVar

import msgspec

from domain.message import Recorded
from projections.database import ReadDatabase
from projections.projection import Projection, facts_of
from projections.tables import Key, ReadTable, Values

R = TypeVar("R", bound=msgspec.Struct)

Tables = dict[str, list[Values]]
"""Every row of every table, by the table's name, in the order of the keys."""


class PlainRows:
    """`projections.projection.Rows` that keeps everything as it would be stored."""

    def __init__(self) -> None:
        self.tables: dict[str, dict[Key, Any]] = {}

    def get(self, table: ReadTable[R], *key: str | int) -> R | None:
        row: R | None = self.tables.setdefault(table.name, {}).get(key)
        return row

    def change(self, table: ReadTable[R], *key: str | int) -> R:
        row: R = self.tables[table.name][key]
        return row

    def put(self, table: ReadTable[R], row: R) -> None:
        self.tables.setdefault(table.name, {})[table.key_of(row)] = row

    def remove(self, table: ReadTable[R], *key: str | int) -> None:
        self.tables.setdefault(table.name, {}).pop(key, None)

    def remove_all(self, table: ReadTable[R], *beginning: str | int) -> None:
        rows = self.tables.setdefault(table.name, {})
        for key in [key for key in rows if key[: len(beginning)] == beginning]:
            del rows[key]


def expected(projections: Sequence[Projection], events: Sequence[Recorded]) -> Tables:
    rows = PlainRows()
    for fact in facts_of(events):
        for projection in projections:
            if fact.category in projection.categories:
                projection.fold(rows, fact)
    return {
        table.name: [table.values(row) for _, row in sorted(rows.tables.get(table.name, {}).items())]
        for projection in projections
        for table in projection.tables
    }


async def stored(read_db: ReadDatabase, projections: Sequence[Projection]) -> Tables:
    """What queries see."""
    tables: Tables = {}
    for projection in projections:
        for table in projection.tables:
            columns, key = ", ".join(table.columns), ", ".join(table.key)
            tables[table.name] = await read_db.fetch(f"SELECT {columns} FROM {table.name} ORDER BY {key}")
    return tables
