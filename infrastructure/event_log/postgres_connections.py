"""Connections to PostgreSQL as the log needs them, and the few that readers share.

Called by the PostgreSQL adapter. Its one rule: a dead connection is thrown away and a new one made at once; a
server that came back is never kept waiting for a pool's back-off.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TypeAlias

import psycopg
from psycopg import AsyncConnection
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from domain.errors import LogUnavailable
from infrastructure.event_log.postgres_arrays import register_arrays

Connection: TypeAlias = AsyncConnection[tuple[object, ...]]

CONNECT_TIMEOUT_S = 5
MAX_READERS = 4
READ_TIMEOUT_S = 10

DEFAULTS: dict[str, str | int] = {
    "application_name": "kasal",
    "connect_timeout": CONNECT_TIMEOUT_S,
    "keepalives_idle": 10,
    "keepalives_interval": 5,
    "keepalives_count": 3,
    "tcp_user_timeout": 15_000,
}
"""Unless the URL says otherwise. A peer that vanished is noticed within 25 s."""

SESSION = """
    SET default_transaction_isolation = 'read committed';
    SET synchronous_commit = on;
    SET enable_seqscan = off;
    SET enable_bitmapscan = off
"""
"""Fresh snapshots under the lock; durable whatever the server's default; plans that a growing table does not
spoil.
"""

GONE_STATES = ("25006", "57P01", "57P02", "57P03", "57P05")
"""Read-only (a demoted primary), shut down, crashed, starting, idle too long: another connection may do
better.
"""


async def connect(url: str) -> Connection:
    """A connection in autocommit mode. Raises `psycopg.OperationalError`."""
    conninfo = make_conninfo("", **{**DEFAULTS, **conninfo_to_dict(url)})
    connection: Connection = await AsyncConnection.connect(conninfo, autocommit=True, prepare_threshold=0)
    await connection.execute(SESSION, prepare=False)
    register_arrays(connection)
    return connection


def is_gone(connection: Connection, error: psycopg.Error) -> bool:
    """Whether an error says that the connection is of no more use."""
    return connection.closed or connection.broken or error.sqlstate in GONE_STATES


@contextmanager
def hang_up_after(connection: Connection, seconds: float) -> Iterator[None]:
    """Break the connection if the block takes longer, so that what waits on it fails as on any broken one.

    To cancel the query instead would ask the same silent server, and wait for it.
    """
    alarm = asyncio.get_running_loop().call_later(seconds, _hang_up, connection)
    try:
        yield
    finally:
        alarm.cancel()


def _hang_up(connection: Connection) -> None:
    wire = socket.socket(fileno=connection.pgconn.socket)
    try:
        wire.shutdown(socket.SHUT_RDWR)
    finally:
        wire.detach()


class Readers:
    """At most `MAX_READERS` connections, made when they are first needed."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._idle: list[Connection] = []
        self._slots = asyncio.Semaphore(MAX_READERS)
        self._is_closed = False

    async def fetch(self, query: str, parameters: Sequence[object] = ()) -> list[tuple[object, ...]]:
        """Every row of a query, tried once more on a new connection. Raises `LogUnavailable`."""
        if self._is_closed:
            raise LogUnavailable("the event log is closed")
        try:
            async with self._slots:
                return await self._fetch_twice(query, parameters)
        except psycopg.Error as error:
            raise LogUnavailable(f"the event log can not be read: {error}") from error

    async def close(self) -> None:
        self._is_closed = True
        await self._drop_idle()

    async def _drop_idle(self) -> None:
        while self._idle:
            await self._idle.pop().close()

    async def _fetch_twice(self, query: str, parameters: Sequence[object]) -> list[tuple[object, ...]]:
        connection = self._idle.pop() if self._idle else await connect(self._url)
        try:
            return await self._fetch(connection, query, parameters)
        except psycopg.OperationalError as error:
            if not is_gone(connection, error):
                raise
        await self._drop_idle()
        return await self._fetch(await connect(self._url), query, parameters)

    async def _fetch(
        self, connection: Connection, query: str, parameters: Sequence[object]
    ) -> list[tuple[object, ...]]:
        is_whole = False
        try:
            with hang_up_after(connection, READ_TIMEOUT_S):
                cursor = await connection.execute(query.encode(), parameters, binary=True)
                rows = await cursor.fetchall()
            is_whole = True
            return rows
        except psycopg.Error as error:
            is_whole = not is_gone(connection, error)
            raise
        finally:
            if is_whole and not self._is_closed:
                self._idle.append(connection)
            else:
                await connection.close()
