"""The appender's hand on SQLite: a batch is read for, decided and written in one immediate transaction, on
one thread.

Called by the appender's task; `store` by the recorders too. Statements take a batch as one JSON array or as
many rows: each step of a statement lets go of the interpreter's lock, and getting it back costs more than the
step.
"""

from __future__ import annotations

import asyncio
import json
import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from functools import cache
from pathlib import Path

import msgspec

from application.contents import StoredPart
from application.ports import Append, Appended, CommandRecord
from domain.errors import Invalid
from infrastructure.event_log.appender import FlushFailed, FlushRefused
from infrastructure.event_log.deciding import Decider, Outcome, keys_of, streams_of
from infrastructure.event_log.rows import (
    CONTENT_COLUMNS,
    RECORDS,
    command_id,
    command_record,
    encode_metadata,
)
from infrastructure.event_log.sqlite_connections import BUSY_TIMEOUT_S, SqliteThreads
from infrastructure.event_log.sqlite_inline import InlineFlush
from infrastructure.event_log.sqlite_quick import PREPARE, QuickFlush, Unsuited

NewRow = tuple[str, int, str, bytes, str]
"""Stream, version, tag, body, metadata."""

MAX_ROWS = 256
"""In one INSERT."""

STANDING = """
    SELECT json_group_array(
        coalesce((SELECT max(originator_version) FROM kasal_events WHERE originator_id = asked.value), 0)),
        (SELECT position FROM kasal_head)
    FROM json_each(?) AS asked
"""
RECORDS_OF = RECORDS + " WHERE key IN (SELECT value FROM json_each(?))"  # noqa: S608 -- constants only
LANDED = (
    "SELECT notification_id, metadata FROM kasal_events WHERE originator_id = ? AND originator_version = ?"
)
NEW_EVENTS = """
    INSERT INTO kasal_events
        (notification_id, originator_id, originator_version, topic, state, metadata)
    VALUES
"""
NEW_RECORD = """
    INSERT INTO kasal_commands (key, request_hash, command_id, response, version, position)
    VALUES (?, ?, ?, ?, ?, ?)
"""

NEW_PART = f"INSERT OR IGNORE INTO kasal_contents ({CONTENT_COLUMNS}) VALUES (?, ?, ?, ?, ?, ?)"  # noqa: S608

NEW_KEY = "INSERT INTO kasal_keys (stream, wrapping, wrapped) VALUES (?, ?, ?)"
OVERWRITE_KEY = "UPDATE kasal_keys SET wrapped = zeroblob(length(wrapped)) WHERE stream = ?"
DROP_KEY = "UPDATE kasal_keys SET wrapped = x'' WHERE stream = ?"
DROP_CONTENTS = "DELETE FROM kasal_contents WHERE owner = ?"

FORGET_TRIES = 10
FORGET_PAUSE_S = 0.02

POISONOUS = (
    sqlite3.IntegrityError,
    sqlite3.DataError,
    sqlite3.ProgrammingError,
    sqlite3.InterfaceError,
)
"""Errors that say the command can not be stored now or later; any other may pass."""


class SqliteWriter:
    """`appender.Writer` on a thread of its own, and past it for small batches.

    head: of the log after the last batch, if that is known.
    """

    def __init__(self, path: Path) -> None:
        self._thread = SqliteThreads(path, "event-log-writer", 1, PREPARE)
        self._inline = InlineFlush(path)
        self._head: int | None = None

    async def flush(self, batch: Sequence[Append]) -> Sequence[Outcome]:
        try:
            outcomes: Sequence[Outcome] = await self._quick(batch)
            if not outcomes:
                outcomes = await self._thread.run(flush, batch)
        except POISONOUS as error:
            raise FlushRefused(Invalid(f"the event log refused the command: {error}")) from error
        except sqlite3.Error as error:
            raise FlushFailed(error, may_stand=False) from error
        if any(append.erases for append in batch):
            await self._forget_old_pages()
        accepted = [outcome.position for outcome in outcomes if isinstance(outcome, Appended)]
        self._head = accepted[-1] if accepted else None
        return outcomes

    async def _quick(self, batch: Sequence[Append]) -> Sequence[Appended]:
        """The outcomes of a batch against which nothing speaks; () when it has to go the long way."""
        if self._head is None:
            return ()
        try:
            quick = QuickFlush(batch, self._head)
            return self._inline.store(quick) or await self._thread.run(quick.store)
        except Unsuited:
            return ()
        except sqlite3.OperationalError as error:
            may_stand = error.sqlite_errorcode & 0xFF != sqlite3.SQLITE_BUSY
            raise FlushFailed(error, may_stand=may_stand) from error

    async def landed(self, appends: Sequence[Append]) -> Sequence[Appended | None]:
        try:
            return await self._thread.run(landed, appends)
        except sqlite3.Error as error:
            raise FlushFailed(error, may_stand=False) from error

    async def put_part(self, part: StoredPart) -> None:
        """Between two batches. Raises `sqlite3.Error`."""
        await self._thread.run(store_parts, [part])

    async def _forget_old_pages(self) -> None:
        """After an erasure. Where readers stay in the way, the next does it, or who closes the file last."""
        for _ in range(FORGET_TRIES):
            if await self._thread.run(forget_old_pages):
                return
            await asyncio.sleep(FORGET_PAUSE_S)

    async def execute(self, statement: str, parameters: tuple[object, ...]) -> None:
        """Between two batches, committed on its own. Raises `sqlite3.Error`."""
        await self._thread.run(lambda connection: connection.execute(statement, parameters))

    async def close(self) -> None:
        self._inline.close()
        await self._thread.close()


def flush(connection: sqlite3.Connection, batch: Sequence[Append]) -> Sequence[Outcome]:
    """Decide and store a batch. Raises `FlushFailed` when the commit itself failed, for then it may stand."""
    connection.execute("BEGIN IMMEDIATE")
    try:
        outcomes = _decide_and_store(connection, batch)
    except BaseException:
        connection.rollback()
        raise
    try:
        connection.execute("COMMIT")
    except sqlite3.Error as error:
        connection.rollback()
        raise FlushFailed(error, may_stand=True) from error
    return outcomes


def forget_old_pages(connection: sqlite3.Connection) -> bool:
    """Empty the write-ahead file, which may hold pages as they were. Whether no reader was in the way."""
    connection.execute("PRAGMA busy_timeout = 0")
    try:
        (is_busy, *_) = connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
    finally:
        connection.execute(f"PRAGMA busy_timeout = {round(BUSY_TIMEOUT_S * 1000)}")
    return not is_busy


def landed(connection: sqlite3.Connection, appends: Sequence[Append]) -> Sequence[Appended | None]:
    """Where each command's own events are."""
    return [_landed(connection, append) for append in appends]


def command_records(connection: sqlite3.Connection, keys: Iterable[str]) -> dict[str, CommandRecord]:
    """What is stored under the keys."""
    rows = connection.execute(RECORDS_OF, (json.dumps(list(keys)),))
    return {row[0]: command_record(row) for row in rows}


def store(cursor: sqlite3.Connection | sqlite3.Cursor, rows: Sequence[NewRow]) -> int:
    """Write events at the next positions, in the order given; the new head. The caller commits."""
    (head,) = cursor.execute(
        "UPDATE kasal_head SET position = position + ? RETURNING position", (len(rows),)
    ).fetchone()
    position = head - len(rows)
    for chunk in _chunks(rows):
        values: list[object] = []
        for row in chunk:
            position += 1
            values += (position, *row)
        cursor.execute(_insert(len(chunk)), values)
    return int(head)


def _decide_and_store(connection: sqlite3.Connection, batch: Sequence[Append]) -> Sequence[Outcome]:
    keys = keys_of(batch)
    records = command_records(connection, keys) if keys else {}
    decider = Decider(*_standing(connection, list(streams_of(batch))), records)
    outcomes = [decider.decide(append) for append in batch]
    accepted = [append for append, o in zip(batch, outcomes, strict=True) if isinstance(o, Appended)]
    if accepted:
        store(connection, [row for append in accepted for row in _rows(append)])
        store_parts(connection, [part for append in accepted for part in append.contents])
        store_keys(connection, accepted)
        new = [decider.records[append.record.key] for append in accepted if append.record is not None]
        connection.executemany(NEW_RECORD, [msgspec.structs.astuple(record) for record in new])
    return outcomes


def store_parts(connection: sqlite3.Connection, parts: Sequence[StoredPart]) -> None:
    """Each part that is not there yet; within a transaction, or each in its own."""
    if parts:
        connection.executemany(NEW_PART, [msgspec.structs.astuple(part) for part in parts])


def store_keys(connection: sqlite3.Connection, accepted: Sequence[Append]) -> None:
    """Of streams that begin; those of streams that are erased are destroyed."""
    keys = [msgspec.structs.astuple(append.key) for append in accepted if append.key is not None]
    if keys:
        connection.executemany(NEW_KEY, keys)
    for append in accepted:
        if append.erases:
            for statement in (OVERWRITE_KEY, DROP_KEY, DROP_CONTENTS):
                connection.execute(statement, (append.stream,))


def _standing(connection: sqlite3.Connection, streams: list[str]) -> tuple[dict[str, int], int]:
    versions, head = connection.execute(STANDING, (json.dumps(streams),)).fetchone()
    return dict(zip(streams, json.loads(versions), strict=True)), head


def _landed(connection: sqlite3.Connection, append: Append) -> Appended | None:
    row = connection.execute(LANDED, (append.stream, append.expected_version + 1)).fetchone()
    if row is None or command_id(row[1]) != append.events[0].metadata.command_id:
        return None
    more = len(append.events) - 1
    return Appended(append.expected_version + 1 + more, row[0] + more)


def _rows(append: Append) -> list[NewRow]:
    return [
        (append.stream, version, event.tag, event.body, encode_metadata(event.metadata).decode())
        for version, event in enumerate(append.events, append.expected_version + 1)
    ]


def _chunks(rows: Sequence[NewRow]) -> Iterator[Sequence[NewRow]]:
    """Powers of two, so that only a few statements are ever prepared."""
    start = 0
    while left := len(rows) - start:
        size = min(MAX_ROWS, 1 << (left.bit_length() - 1))
        yield rows[start : start + size]
        start += size


@cache
def _insert(count: int) -> str:
    rows = ", ".join(["(?, ?, ?, ?, ?, ?)"] * count)
    return NEW_EVENTS + rows
