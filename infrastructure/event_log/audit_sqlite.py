"""The audit's view of a log in a SQLite file. Made by `opening.open_audit_store`.

Its one rule: texts are read as the bytes that the file holds, so that a changed byte can not hide behind a
decoding.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any, Concatenate, ParamSpec, TypeVar

from application.audit.merkle import StoredEvent
from application.audit.notes import Checkpoint, parsed
from application.audit.ports import TextPart
from application.audit.tiles import Place, Tiles
from domain.errors import LogUnavailable
from infrastructure.event_log.sqlite_connections import SqliteThreads

EVENTS = """
    SELECT notification_id, CAST(originator_version AS INTEGER), CAST(originator_id AS BLOB),
        CAST(topic AS BLOB), CAST(state AS BLOB), CAST(metadata AS BLOB)
    FROM kasal_events
"""
IN_RANGE = EVENTS + " WHERE notification_id > ? AND notification_id <= ? ORDER BY notification_id"
OF_STREAM = EVENTS + " WHERE originator_id = ? AND originator_version > ? ORDER BY originator_version LIMIT ?"
STREAM_END = """
    SELECT originator_version, notification_id FROM kasal_events
    WHERE originator_id = ? ORDER BY originator_version DESC LIMIT 1
"""
ENDS = "SELECT (SELECT coalesce(max(notification_id), 0) FROM kasal_events), position FROM kasal_head"
TEXTS = """
    SELECT digest, owner, number, total_bytes, CAST(body AS BLOB) FROM kasal_contents
    WHERE (digest, owner, number) > (?, ?, ?) ORDER BY digest, owner, number LIMIT ?
"""
TILE = "SELECT CAST(hashes AS BLOB) FROM kasal_tiles WHERE level = ? AND number = ?"
PUT_TILE = """
    INSERT INTO kasal_tiles (level, number, hashes) VALUES (?, ?, ?)
    ON CONFLICT (level, number) DO UPDATE SET hashes = excluded.hashes
"""
LAST = "SELECT note FROM kasal_checkpoints WHERE size <= ? ORDER BY size DESC LIMIT 1"
ASCENDING = "SELECT size, note FROM kasal_checkpoints WHERE size > ? ORDER BY size LIMIT ?"
DESCENDING = "SELECT note FROM kasal_checkpoints WHERE size < ? ORDER BY size DESC LIMIT ?"
PUT_CHECKPOINT = "INSERT INTO kasal_checkpoints (size, note) VALUES (?, ?)"
LAST_SIZE = "SELECT coalesce(max(size), 0) FROM kasal_checkpoints"

LARGEST = 2**63 - 1

P = ParamSpec("P")
T = TypeVar("T")


class SqliteAuditStore:
    """`application.audit.ports.AuditStore` on one file."""

    def __init__(self, path: Path) -> None:
        self._threads = SqliteThreads(path, "audit", 1)

    async def events(self, after_position: int, to_position: int) -> Sequence[StoredEvent]:
        return await self._run(_rows, IN_RANGE, (after_position, to_position))

    async def stream_events(self, stream: str, after_version: int, limit: int) -> Sequence[StoredEvent]:
        return await self._run(_rows, OF_STREAM, (stream, after_version, limit))

    async def stream_end(self, stream: str) -> tuple[int, int]:
        rows = await self._run(_rows, STREAM_END, (stream,))
        return rows[0] if rows else (0, 0)

    async def ends(self) -> tuple[int, int]:
        last, head = (await self._run(_rows, ENDS, ()))[0]
        return last, head

    async def tiles(self, places: Iterable[Place]) -> Tiles:
        return await self._run(_tiles, list(places))

    async def texts(self, after: tuple[str, str, int], limit: int) -> Sequence[TextPart]:
        return [TextPart(*row) for row in await self._run(_rows, TEXTS, (*after, limit))]

    async def last_checkpoint(self, up_to: int | None = None) -> Checkpoint | None:
        rows = await self._run(_rows, LAST, (LARGEST if up_to is None else up_to,))
        return parsed(rows[0][0])[0] if rows else None

    async def notes(self, after: int, limit: int) -> Sequence[tuple[int, str]]:
        return await self._run(_rows, ASCENDING, (after, limit))

    async def newest(self, before: int | None, limit: int) -> Sequence[Checkpoint]:
        rows = await self._run(_rows, DESCENDING, (LARGEST if before is None else before, limit))
        return [parsed(note)[0] for (note,) in rows]

    async def add(self, previous: int, tiles: Tiles, checkpoint: Checkpoint) -> bool:
        return await self._run(_add, previous, tiles, checkpoint)

    async def close(self) -> None:
        await self._threads.close()

    async def _run(
        self, function: Callable[Concatenate[sqlite3.Connection, P], T], *args: P.args, **kwargs: P.kwargs
    ) -> T:
        try:
            return await self._threads.run(function, *args, **kwargs)
        except sqlite3.Error as error:
            raise LogUnavailable(f"the audit can not reach the event log: {error}") from error


def _rows(connection: sqlite3.Connection, query: str, parameters: tuple[object, ...]) -> list[Any]:
    return connection.execute(query, parameters).fetchall()


def _tiles(connection: sqlite3.Connection, places: Sequence[Place]) -> Tiles:
    found = ((place, connection.execute(TILE, place).fetchone()) for place in places)
    return {place: row[0] for place, row in found if row is not None}


def _add(connection: sqlite3.Connection, previous: int, tiles: Tiles, checkpoint: Checkpoint) -> bool:
    connection.execute("BEGIN IMMEDIATE")
    try:
        if connection.execute(LAST_SIZE).fetchone()[0] != previous:
            connection.rollback()
            return False
        connection.executemany(PUT_TILE, [(*place, hashes) for place, hashes in tiles.items()])
        connection.execute(PUT_CHECKPOINT, (checkpoint.size, checkpoint.note))
        connection.execute("COMMIT")
    except BaseException:
        if connection.in_transaction:
            connection.rollback()
        raise
    return True
