"""The log in a SQLite file. Made by `opening.open_event_log`; the tables by `schema.migrate`.

One thread writes (`sqlite_writer.py`), two read on connections of their own, so that no read waits for a
disk. Its one rule: other processes may write to the same file, so nothing that it holds is remembered here.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Concatenate, ParamSpec, TypeVar

from application.contents import Holding, StoredPart
from application.log_port import StoredKey
from application.ports import Append, Appended, CommandRecord
from domain.errors import LogUnavailable
from domain.message import Recorded
from infrastructure.event_log.appender import Appender
from infrastructure.event_log.deciding import MAX_VERSION, is_storable
from infrastructure.event_log.head_watch import HeadWatch
from infrastructure.event_log.rows import (
    BY_OWNER,
    EVENTS,
    HOLDINGS,
    KEYS,
    PART_BODY,
    holding,
    recorded,
    stored_key,
)
from infrastructure.event_log.sqlite_connections import SqliteThreads
from infrastructure.event_log.sqlite_writer import SqliteWriter, command_records
from infrastructure.event_log.tail import Tail

POLL_EVERY_S = 0.25
"""For what other processes write; our own appends wake at once."""

READERS = 2

READ_STREAM = EVENTS + " WHERE originator_id = ? AND originator_version > ? ORDER BY originator_version"
READ_ALL = EVENTS + " WHERE notification_id > ? ORDER BY notification_id LIMIT ?"
READ_VERSION = "SELECT coalesce(max(originator_version), 0) FROM kasal_events WHERE originator_id = ?"
READ_HEAD = "SELECT position FROM kasal_head"
ASKED = "tenant = ? AND digest IN (SELECT value FROM json_each(?))"
READ_HOLDINGS = HOLDINGS + ASKED + BY_OWNER
READ_KEYS = KEYS + "stream IN (SELECT value FROM json_each(?))"  # noqa: S608 - constants only
KEYS_AFTER = KEYS + "stream > ? ORDER BY stream LIMIT ?"
READ_PART = PART_BODY + "digest = ? AND owner = ? AND number = ?"

PUT_KEY = "INSERT OR IGNORE INTO kasal_keys (stream, wrapping, wrapped) VALUES (?, ?, ?)"
REWRAP = "UPDATE kasal_keys SET wrapping = ?, wrapped = ? WHERE stream = ? AND wrapped = ?"

P = ParamSpec("P")
T = TypeVar("T")


class SqliteEventLog:
    """`application.ports.EventLog` on one file."""

    def __init__(self, path: Path, queue_limit: int) -> None:
        self._readers = SqliteThreads(path, "event-log-reader", READERS)
        self._watch = HeadWatch(self.head, POLL_EVERY_S)
        self._writer = SqliteWriter(path)
        self._tail = Tail()
        self._appender = Appender(self._writer, self._watch, self._tail, queue_limit)

    async def append(self, append: Append) -> Appended:
        return await self._appender.append(append)

    async def read_stream(self, stream: str, after_version: int = 0) -> Sequence[Recorded]:
        if not is_storable(stream):
            return ()
        return await self._read(_events, READ_STREAM, (stream, min(after_version, MAX_VERSION)))

    async def version_of(self, stream: str) -> int:
        if not is_storable(stream):
            return 0
        return int((await self._read(_rows, READ_VERSION, (stream,)))[0][0])

    async def read_all(self, after_position: int, limit: int) -> Sequence[Recorded]:
        if known := self._tail.after(after_position, limit):
            return known
        return await self._read(_events, READ_ALL, (min(after_position, MAX_VERSION), limit))

    async def head(self) -> int:
        return await self._read(_head)

    async def command_record(self, key: str) -> CommandRecord | None:
        if not is_storable(key):
            return None
        return (await self._read(command_records, (key,))).get(key)

    async def put_part(self, part: StoredPart) -> None:
        try:
            await self._writer.put_part(part)
        except sqlite3.Error as error:
            raise LogUnavailable(f"a content can not be stored: {error}") from error

    async def _change(self, statement: str, parameters: tuple[object, ...]) -> None:
        try:
            await self._writer.execute(statement, parameters)
        except sqlite3.Error as error:
            raise LogUnavailable(f"a key can not be stored: {error}") from error

    async def holdings(self, tenant: str, digests: Sequence[str]) -> Sequence[Holding]:
        rows = await self._read(_rows, READ_HOLDINGS, (tenant, json.dumps(list(digests))))
        return [holding(row) for row in rows]

    async def read_part(self, owner: str, digest: str, number: int) -> bytes | None:
        rows = await self._read(_rows, READ_PART, (digest, owner, number))
        return bytes(rows[0][0]) if rows else None

    async def keys(self, streams: Sequence[str]) -> Sequence[StoredKey]:
        return [stored_key(row) for row in await self._read(_rows, READ_KEYS, (json.dumps(list(streams)),))]

    async def keys_after(self, stream: str, limit: int) -> Sequence[StoredKey]:
        return [stored_key(row) for row in await self._read(_rows, KEYS_AFTER, (stream, limit))]

    async def put_key(self, key: StoredKey) -> None:
        await self._change(PUT_KEY, (key.stream, key.wrapping, key.wrapped))

    async def rewrap(self, before: StoredKey, now: StoredKey) -> None:
        await self._change(REWRAP, (now.wrapping, now.wrapped, before.stream, before.wrapped))

    async def wait_beyond(self, position: int, timeout_s: float) -> None:
        await self._watch.wait_beyond(position, timeout_s)

    async def close(self) -> None:
        await self._appender.close()
        await self._watch.close()
        await self._readers.close()

    async def _read(
        self, function: Callable[Concatenate[sqlite3.Connection, P], T], *args: P.args, **kwargs: P.kwargs
    ) -> T:
        try:
            return await self._readers.run(function, *args, **kwargs)
        except sqlite3.Error as error:
            raise LogUnavailable(f"the event log can not be read: {error}") from error


def _events(connection: sqlite3.Connection, query: str, parameters: tuple[object, ...]) -> Sequence[Recorded]:
    return tuple([recorded(row) for row in connection.execute(query, parameters).fetchall()])


def _rows(
    connection: sqlite3.Connection, query: str, parameters: tuple[object, ...]
) -> list[tuple[Any, ...]]:
    return connection.execute(query, parameters).fetchall()


def _head(connection: sqlite3.Connection) -> int:
    return int(connection.execute(READ_HEAD).fetchone()[0])
