"""`HeldContents` on both databases: which contents each stream has, and the removal of those that it does not
name.

Called by `kasal cleanup`. Its one rule: what is removed is compared with the stream's version under the lock
that every append takes, one owner at a time, so that no append waits longer than for any other one.
"""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager, closing
from typing import Any

import psycopg

from application.unnamed_contents import HeldContents
from domain.errors import LogUnavailable
from infrastructure.event_log.postgres_connections import Connection
from infrastructure.event_log.postgres_connections import connect as connect_postgres
from infrastructure.event_log.sqlite_connections import connect as connect_sqlite
from infrastructure.event_log.urls import is_sqlite, sqlite_path

PATIENCE_MS = 30_000
"""How long a removal waits for its turn."""

OWNERS = "SELECT DISTINCT owner FROM kasal_contents WHERE owner > {0} ORDER BY owner LIMIT {0}"
SIZES = "SELECT digest, sum(length(body)) FROM kasal_contents WHERE owner = {0} GROUP BY digest"
VERSION = "SELECT max(originator_version) FROM kasal_events WHERE originator_id = {0}"
REMOVE = "DELETE FROM kasal_contents WHERE owner = {0} AND digest = {0}"
APPEND_LOCK = "SELECT pg_advisory_xact_lock(hashtextextended('kasal_events', 0))"


@asynccontextmanager
async def held_contents(url: str) -> AsyncIterator[HeldContents]:
    """Of the log at a URL, which is not in memory; over one connection. Raises `LogUnavailable`."""
    try:
        if is_sqlite(url):
            with closing(connect_sqlite(sqlite_path(url))) as file:
                file.execute(f"PRAGMA busy_timeout = {PATIENCE_MS}")
                yield SqliteHeldContents(file)
        else:
            async with await connect_postgres(url) as connection:
                yield PostgresHeldContents(connection)
    except (sqlite3.Error, psycopg.Error) as error:
        raise LogUnavailable(f"the event log's database refused: {error}") from error


class SqliteHeldContents:
    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection

    async def owners(self, after: str, limit: int) -> Sequence[str]:
        return [owner for (owner,) in await self._rows(OWNERS, after, limit)]

    async def sizes(self, owner: str) -> Mapping[str, int]:
        return dict(await self._rows(SIZES, owner))

    async def remove(self, owner: str, digests: Sequence[str], version: int) -> bool:
        return await asyncio.to_thread(self._removed, owner, digests, version)

    def _removed(self, owner: str, digests: Sequence[str], version: int) -> bool:
        self._connection.execute("BEGIN IMMEDIATE")
        (now,) = self._connection.execute(VERSION.format("?"), (owner,)).fetchone()
        if now == version:
            self._connection.executemany(REMOVE.format("?"), [(owner, digest) for digest in digests])
        self._connection.execute("COMMIT")
        return bool(now == version)

    async def _rows(self, query: str, *parameters: object) -> list[Any]:
        def rows() -> list[Any]:
            return self._connection.execute(query.format("?"), parameters).fetchall()

        return await asyncio.to_thread(rows)


class PostgresHeldContents:
    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    async def owners(self, after: str, limit: int) -> Sequence[str]:
        return [str(owner) for (owner,) in await self._rows(OWNERS, after, limit)]

    async def sizes(self, owner: str) -> Mapping[str, int]:
        return {str(digest): int(str(size)) for digest, size in await self._rows(SIZES, owner)}

    async def remove(self, owner: str, digests: Sequence[str], version: int) -> bool:
        async with self._connection.transaction():
            await self._connection.execute(APPEND_LOCK)
            ((now,),) = await self._rows(VERSION, owner)
            if now == version:
                for digest in digests:
                    await self._connection.execute(REMOVE.format("%s"), (owner, digest))
            return now == version

    async def _rows(self, query: str, *parameters: object) -> Sequence[tuple[object, ...]]:
        return await (await self._connection.execute(query.format("%s"), parameters)).fetchall()
