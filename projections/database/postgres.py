"""Read tables in PostgreSQL: asynchronous readers, and a writer thread for each of two lanes.

Opened by `open_read_database`. Its one rule: a connection that failed is thrown away and the next caller
makes a new one, so that a server that came back is never kept waiting.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager, contextmanager
from typing import TypeVar

import psycopg

from domain.errors import Unavailable
from projections.database.postgres_reading import Reader, Readers, connection_settings
from projections.database.postgres_session import SETUP, PostgresSession
from projections.database.shape import NOTHING, Damaged, Parameters, Row, RowRefused, Session, Snapshot
from projections.positions import Positions

WRITER_SETTINGS = (
    SETUP + "; SET synchronous_commit = off; SET lock_timeout = '10s'; SET statement_timeout = '120s'"
)

T = TypeVar("T")


class PostgresReadDatabase:
    """`ReadDatabase` on one database."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._readers = Readers(url)
        self._live, self._background = Writer(url, "live"), Writer(url, "builds")
        self.positions = Positions(self.fetch)

    async def fetch(self, statement: str, parameters: Parameters = NOTHING) -> list[Row]:
        return await self._readers.fetch(statement, parameters)

    async def write(self, work: Callable[[Session], T], *, background: bool = False) -> T:
        return await (self._background if background else self._live).run(work)

    async def forget_old_pages(self) -> None:
        """What was deleted is the server's to overwrite, when it vacuums."""

    @asynccontextmanager
    async def snapshot(self) -> AsyncIterator[Snapshot]:
        reader = await Reader.connect(self._url)
        try:
            await reader.fetch("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY")
            yield reader
        finally:
            await reader.close()

    async def close(self) -> None:
        await self.positions.close()
        await self._live.close()
        await self._background.close()
        await self._readers.close()


class Writer:
    """One connection and the thread that uses it."""

    def __init__(self, url: str, lane: str) -> None:
        self._url = url
        self._executor = ThreadPoolExecutor(1, thread_name_prefix=f"read tables writer ({lane})")
        self._connection: psycopg.Connection[Row] | None = None

    async def run(self, work: Callable[[Session], T]) -> T:
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._executor, self._transact, work)

    async def close(self) -> None:
        await asyncio.to_thread(self._executor.shutdown)
        if self._connection is not None:
            self._connection.close()

    def _transact(self, work: Callable[[Session], T]) -> T:
        with translated():
            connection = self._usable()
            try:
                session = PostgresSession(connection)
                answer = work(session)
                session.commit()
            except BaseException:
                self._roll_back(connection)
                raise
        return answer

    def _usable(self) -> psycopg.Connection[Row]:
        if self._connection is None:
            settings = connection_settings(self._url)
            self._connection = psycopg.connect(settings, autocommit=True, prepare_threshold=1)
            self._connection.execute(WRITER_SETTINGS, prepare=False)
        return self._connection

    def _roll_back(self, connection: psycopg.Connection[Row]) -> None:
        try:
            connection.execute("ROLLBACK")
        except psycopg.Error:
            connection.close()
        if connection.closed or connection.broken:
            self._connection = None


@contextmanager
def translated() -> Iterator[None]:
    """What a failed write means."""
    try:
        yield
    except (psycopg.errors.UndefinedTable, psycopg.errors.UndefinedColumn) as error:
        raise Damaged(str(error)) from error
    except (psycopg.DataError, psycopg.IntegrityError) as error:
        raise RowRefused(str(error)) from error
    except psycopg.ProgrammingError as error:
        raise Damaged(str(error)) from error
    except psycopg.Error as error:
        raise Unavailable(f"the read tables can not be written: {error}") from error
