"""Queries on PostgreSQL: a few asynchronous connections that all readers share.

Used by `postgres.py`. Its one rule: only a connection that ended its query whole goes back to the others.
"""

from __future__ import annotations

import asyncio
from types import TracebackType
from typing import Any

import psycopg
from psycopg import AsyncConnection
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from domain.errors import Invalid, NotCaughtUp, Unavailable
from projections.database.postgres_session import placed
from projections.database.shape import NOTHING, Parameters, Row

READERS = 8
READ_TIMEOUT_S = 10
CHANGED_RESULT = "0A000"
"""A prepared statement whose table was switched to one of another version."""

DEFAULTS: dict[str, Any] = {
    "application_name": "kasal read tables",
    "connect_timeout": 5,
    "keepalives_idle": 10,
    "keepalives_interval": 5,
    "keepalives_count": 3,
    "tcp_user_timeout": 15_000,
}
"""Unless the URL says otherwise."""


def connection_settings(url: str) -> str:
    return make_conninfo(**{**DEFAULTS, **conninfo_to_dict(url)})


class Reader:
    """One connection, in autocommit mode: each query sees what is committed."""

    def __init__(self, connection: AsyncConnection[Row]) -> None:
        self._connection = connection

    @classmethod
    async def connect(cls, url: str) -> Reader:
        """Raises `Unavailable`."""
        try:
            connection: AsyncConnection[Row] = await AsyncConnection.connect(
                connection_settings(url), autocommit=True, prepare_threshold=2
            )
        except psycopg.Error as error:
            raise Unavailable("the read tables can not be reached") from error
        return cls(connection)

    async def fetch(self, statement: str, parameters: Parameters = NOTHING) -> list[Row]:
        cursor = await self._connection.execute(placed(statement).encode(), parameters)
        return await cursor.fetchall() if cursor.description else []

    async def close(self) -> None:
        await self._connection.close()

    def is_usable_after(self, error: psycopg.Error) -> bool:
        gone = self._connection.closed or self._connection.broken
        return not gone and error.sqlstate is not None and not error.sqlstate.startswith(("57", "0A", "25"))


class Readers:
    """At most `READERS` connections, made when they are first needed."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._idle: list[Reader] = []
        self._slots = asyncio.Semaphore(READERS)
        self._is_closed = False

    async def fetch(self, statement: str, parameters: Parameters) -> list[Row]:
        """Raises `Unavailable`; `NotCaughtUp` while a table is missing; `Invalid` for a value of no use."""
        try:
            async with asyncio.timeout(READ_TIMEOUT_S), self._slots:
                return await self._fetch(statement, parameters)
        except TimeoutError as error:
            raise Unavailable("the read tables did not answer in time") from error
        except (psycopg.errors.UndefinedTable, psycopg.errors.UndefinedColumn) as error:
            raise NotCaughtUp("the read tables are still to be built") from error
        except psycopg.DataError as error:
            raise Invalid(f"the query can not be answered: {error.diag.message_primary or error}") from error
        except psycopg.Error as error:
            raise Unavailable("the read tables can not be read") from error

    async def close(self) -> None:
        self._is_closed = True
        while self._idle:
            await self._idle.pop().close()

    async def _fetch(self, statement: str, parameters: Parameters) -> list[Row]:
        """Once more on a new connection when the old one was gone, or knew tables of another version."""
        if self._idle:
            try:
                async with _Borrowed(self, self._idle.pop()) as reader:
                    return await reader.fetch(statement, parameters)
            except (psycopg.OperationalError, psycopg.NotSupportedError) as error:
                if not is_worth_another_try(error):
                    raise
            await self._drop_idle()
        async with _Borrowed(self, await Reader.connect(self._url)) as reader:
            return await reader.fetch(statement, parameters)

    async def _drop_idle(self) -> None:
        idle, self._idle = self._idle, []
        for reader in idle:
            await reader.close()

    async def give_back(self, reader: Reader, *, is_whole: bool) -> None:
        if is_whole and not self._is_closed:
            self._idle.append(reader)
        else:
            await reader.close()


class _Borrowed:
    def __init__(self, readers: Readers, reader: Reader) -> None:
        self._readers = readers
        self._reader = reader

    async def __aenter__(self) -> Reader:
        return self._reader

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        is_whole = error is None or (isinstance(error, psycopg.Error) and self._reader.is_usable_after(error))
        await self._readers.give_back(self._reader, is_whole=is_whole)


def is_worth_another_try(error: psycopg.Error) -> bool:
    """A query only reads: after a lost connection it may simply be asked again; not after a timeout."""
    return (
        error.sqlstate is None
        or error.sqlstate == CHANGED_RESULT
        or error.sqlstate.startswith(("57P", "25", "08"))
    )
