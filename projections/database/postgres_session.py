"""One transaction of the writer on PostgreSQL.

Used by `postgres.py`. Its one rule: many rows are one parameter, a JSON text that the server takes apart
(measured: 16 µs a row, four times as fast as arrays through the driver), and what a batch changes in all
tables is one statement, because the driver costs by the statement.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import lru_cache
from itertools import chain
from typing import cast

import msgspec
import psycopg

from projections.database.shape import NOTHING, Change, Counted, Move, Parameters, Row
from projections.tables import Key, Shape

SETUP = "SET default_transaction_isolation = 'read committed'"
"""A statement after a lock sees what was committed before the lock was had."""

SETUP_LOCK = 0x6B61_7361_6C_70_72
"""The advisory lock of whoever makes or switches tables."""

_PARAMETER = re.compile(r"(?<!:):([a-z_][a-z0-9_]*)")


@lru_cache(maxsize=1024)
def placed(statement: str) -> str:
    """`:name`, as both databases are told, in the driver's form."""
    return _PARAMETER.sub(r"%(\1)s", statement.replace("%", "%%"))


class PostgresSession:
    """`Session` on a connection; the transaction begins with its first statement, unless that is a change,
    which is one by itself.
    """

    dialect = "postgresql"

    def __init__(self, connection: psycopg.Connection[Row]) -> None:
        self._connection = connection
        self._has_begun = False
        self._is_over = False

    def commit(self) -> None:
        if self._has_begun:
            self._connection.execute("COMMIT")

    def fetch(self, statement: str, parameters: Parameters = NOTHING) -> list[Row]:
        return self._run(placed(statement).encode(), parameters).fetchall()

    def execute(self, statement: str, parameters: Parameters = NOTHING) -> Counted:
        return self._run(placed(statement).encode(), parameters)

    def documents(self, shape: Shape, keys: Sequence[Key]) -> list[str]:
        select = documents_statement(shape)
        rows = self._run(select, (_records(shape.key, keys),)).fetchall()
        return [row[0] for row in rows]

    def change(self, changes: Sequence[Change], move: Move | None = None) -> bool:
        tables = tuple([(shape, bool(kept), bool(gone)) for shape, kept, gone in changes])
        parameters: list[object] = []
        if move is not None:
            parameters += (*chain.from_iterable(move.builds), move.at, len(move.builds), move.to)
        for shape, kept, gone in changes:
            if kept:
                parameters.append(_records(shape.columns, kept))
            if gone:
                parameters.append(_records(shape.key, gone))
        statement = change_statement(tables, len(move.builds) if move else 0)
        if self._has_begun:
            done = self._run(statement, parameters)
        else:
            done = self._connection.execute(statement, parameters)
            self._is_over = True
        return cast("bool", done.fetchall()[0][0])

    def sweep(self, shape: Shape, beginning: Key) -> None:
        where = " AND ".join(f"{column} = %s" for column in shape.key[: len(beginning)])
        self._run(f"DELETE FROM {shape.name} WHERE {where}".encode(), beginning)  # noqa: S608 - our own names

    def lock(self, *build_ids: int, within_s: int = 10) -> None:
        self._run(f"SET LOCAL lock_timeout = '{within_s}s'".encode())
        places = ", ".join(["%s"] * len(build_ids))
        select = f"SELECT id FROM kasal_projections WHERE id IN ({places}) ORDER BY id FOR UPDATE"  # noqa: S608
        self._run(select.encode(), build_ids)

    def serialise(self) -> None:
        self._run(b"SELECT pg_advisory_xact_lock(%s)", (SETUP_LOCK,))

    def analyse(self, shape: Shape) -> None:
        self._run(f"ANALYZE {shape.name}".encode())

    def _run(self, statement: bytes, parameters: Parameters | Sequence[object] = ()) -> psycopg.Cursor[Row]:
        if self._is_over:
            raise RuntimeError("a change without a lock before it is the whole transaction")
        if not self._has_begun:
            self._has_begun = True
            self._connection.execute("BEGIN")
        return self._connection.execute(statement, parameters)


def _records(columns: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    return msgspec.json.encode([dict(zip(columns, row, strict=True)) for row in rows]).decode()


def _recordset(shape: Shape, columns: Sequence[str]) -> str:
    types = dict(zip(shape.columns, shape.types, strict=True))
    typed = ", ".join(f"{column} {types[column]}" for column in columns)
    return f"json_to_recordset(%s::text::json) AS given({typed})"


MOVE = """
    held AS (SELECT id FROM kasal_projections
             WHERE (id, fence) IN (VALUES {fences}) AND position = %s FOR UPDATE),
    whole AS (SELECT count(*) = %s AS is_so FROM held),
    moved AS (UPDATE kasal_projections AS build SET position = %s FROM held
              WHERE build.id = held.id AND (SELECT is_so FROM whole))
"""
"""Each part of the statement waits for the builds' rows: no table is touched before they are held."""


@lru_cache(maxsize=1024)
def change_statement(tables: tuple[tuple[Shape, bool, bool], ...], builds: int) -> bytes:
    """tables: whether rows of each are put, and removed; builds: how many move, if any."""
    if_whole = "(SELECT is_so FROM whole)" if builds else "true"
    parts = [MOVE.format(fences=", ".join(["(%s, %s)"] * builds))] if builds else []
    for number, (shape, has_kept, has_gone) in enumerate(tables):
        if has_kept:
            parts.append(f"kept{number} AS ({upsert(shape, if_whole)})")
        if has_gone:
            parts.append(f"gone{number} AS ({delete(shape, if_whole)})")
    return f"WITH {', '.join(parts)} SELECT {if_whole}".encode() if parts else b"SELECT true"


def upsert(shape: Shape, condition: str) -> str:
    columns, key = ", ".join(shape.columns), ", ".join(shape.key)
    changed = ", ".join(f"{name} = excluded.{name}" for name in shape.columns if name not in shape.key)
    given = _recordset(shape, shape.columns)
    source = f"SELECT {columns} FROM {given} WHERE {condition}"  # noqa: S608 - our own names
    insert = f"INSERT INTO {shape.name} ({columns}) {source}"
    return f"{insert} ON CONFLICT ({key}) DO UPDATE SET {changed}"


def delete(shape: Shape, condition: str) -> str:
    join = " AND ".join(f"kept.{column} = given.{column}" for column in shape.key)
    given = _recordset(shape, shape.key)
    return f"DELETE FROM {shape.name} AS kept USING {given} WHERE {join} AND {condition}"  # noqa: S608


@lru_cache(maxsize=256)
def documents_statement(shape: Shape) -> bytes:
    given = _recordset(shape, shape.key)
    join = " AND ".join(f"kept.{column} = given.{column}" for column in shape.key)
    # The bound keeps the few given keys outside, and the index on the table inside, whatever the planner
    # believes of a table that is still growing.
    return (
        f"SELECT found.doc FROM {given} CROSS JOIN LATERAL "  # noqa: S608 - our own names
        f"(SELECT kept.doc FROM {shape.name} AS kept WHERE {join} OFFSET 0) AS found"
    ).encode()
