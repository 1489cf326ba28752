"""Read tables in a SQLite file: one writer thread, a few reader threads, WAL.

Opened by `open_read_database`. Its one rule: a connection belongs to one thread.
"""

from __future__ import annotations

import asyncio
import sqlite3
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager, contextmanager
from functools import lru_cache, partial
from itertools import chain
from pathlib import Path
from typing import TypeVar

from domain.errors import NotCaughtUp, Unavailable
from projections.database.shape import (
    NOTHING,
    Change,
    Counted,
    Damaged,
    Move,
    Parameters,
    Row,
    RowRefused,
    Snapshot,
)
from projections.database.shape import Session as SessionShape
from projections.positions import Positions
from projections.tables import Key, Shape, Values

READERS = 4
ROWS_AT_ONCE = (32, 8, 1)
BUSY_TIMEOUT_S = 5.0
FORGET_TRIES = 10
FORGET_PAUSE_S = 0.05

T = TypeVar("T")


class Session:
    """`Session` on a connection that is inside a transaction."""

    dialect = "sqlite"

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection

    def fetch(self, statement: str, parameters: Parameters = NOTHING) -> list[Row]:
        return self._connection.execute(statement, parameters).fetchall()

    def execute(self, statement: str, parameters: Parameters = NOTHING) -> Counted:
        return self._connection.execute(statement, parameters)

    def documents(self, shape: Shape, keys: Sequence[Key]) -> list[str]:
        select = f"SELECT doc FROM {shape.name} WHERE {_equals(shape.key)}"  # noqa: S608 - our own names
        found = (self._connection.execute(select, key).fetchone() for key in keys)
        return [row[0] for row in found if row is not None]

    def change(self, changes: Sequence[Change], move: Move | None = None) -> bool:
        if move is not None and not self._moves(move):
            return False
        for shape, kept, gone in changes:
            self._put(shape, kept)
            if gone:
                delete = f"DELETE FROM {shape.name} WHERE {_equals(shape.key)}"  # noqa: S608 - our own names
                self._connection.executemany(delete, gone)
        return True

    def sweep(self, shape: Shape, beginning: Key) -> None:
        columns = shape.key[: len(beginning)]
        self._connection.execute(f"DELETE FROM {shape.name} WHERE {_equals(columns)}", beginning)  # noqa: S608

    def lock(self, *build_ids: int, within_s: int = 10) -> None:
        """A write transaction is alone already."""

    def serialise(self) -> None:
        """A write transaction is alone already."""

    def analyse(self, shape: Shape) -> None:
        self._connection.execute(f"ANALYZE {shape.name}")

    def _put(self, shape: Shape, rows: Sequence[Values]) -> None:
        """Many rows a statement: for each, the thread waits for the interpreter's lock anew."""
        done = 0
        for size in ROWS_AT_ONCE:
            while len(rows) - done >= size:
                values = chain.from_iterable(rows[done : done + size])
                self._connection.execute(upsert_statement(shape, size), tuple(values))
                done += size

    def _moves(self, move: Move) -> bool:
        fences = ", ".join(["(?, ?)"] * len(move.builds))
        moved = self._connection.execute(
            "UPDATE kasal_projections SET position = ?"  # noqa: S608 - places only
            f" WHERE position = ? AND (id, fence) IN (VALUES {fences})",
            (move.to, move.at, *chain.from_iterable(move.builds)),
        )
        return moved.rowcount == len(move.builds)


@lru_cache(maxsize=256)
def upsert_statement(shape: Shape, rows: int) -> str:
    row = f"({', '.join('?' * len(shape.columns))})"
    places = ", ".join([row] * rows)
    changed = ", ".join(f"{name} = excluded.{name}" for name in shape.columns if name not in shape.key)
    columns, key = ", ".join(shape.columns), ", ".join(shape.key)
    insert = f"INSERT INTO {shape.name} ({columns}) VALUES {places}"  # noqa: S608 - our own names
    return f"{insert} ON CONFLICT ({key}) DO UPDATE SET {changed}"


def _equals(columns: Sequence[str]) -> str:
    return " AND ".join(f"{column} = ?" for column in columns)


class SqliteReadDatabase:
    """`ReadDatabase` on one file, which is made when it is first used."""

    def __init__(self, path: str) -> None:
        self._path = Path(path).absolute()
        self._writer = _Threads(partial(connect_writer, self._path), "read tables writer", 1)
        self._readers = _Threads(partial(connect_reader, self._path), "read tables reader", READERS)
        self.positions = Positions(self.fetch)

    async def fetch(self, statement: str, parameters: Parameters = NOTHING) -> list[Row]:
        return await self._readers.run(_fetch, statement, parameters)

    async def write(self, work: Callable[[SessionShape], T], *, background: bool = False) -> T:
        return await self._writer.run(_transact, work)

    async def forget_old_pages(self) -> None:
        for _ in range(FORGET_TRIES):
            if await self._writer.run(_forget_old_pages):
                return
            await asyncio.sleep(FORGET_PAUSE_S)

    @asynccontextmanager
    async def snapshot(self) -> AsyncIterator[Snapshot]:
        thread = _Threads(partial(connect_reader, self._path), "read tables snapshot", 1)
        try:
            await thread.run(_fetch, "BEGIN", NOTHING)
            yield _Snapshot(thread)
        finally:
            await thread.close()

    async def close(self) -> None:
        await self.positions.close()
        await self._writer.close()
        await self._readers.close()


class _Snapshot:
    def __init__(self, thread: _Threads) -> None:
        self._thread = thread

    async def fetch(self, statement: str, parameters: Parameters = NOTHING) -> list[Row]:
        return await self._thread.run(_fetch, statement, parameters)


def _fetch(connection: sqlite3.Connection, statement: str, parameters: Parameters) -> list[Row]:
    try:
        return connection.execute(statement, parameters).fetchall()
    except sqlite3.Error as error:
        if _is_missing(error):
            raise NotCaughtUp("the read tables are still to be built") from error
        raise Unavailable("the read tables can not be read") from error


def _forget_old_pages(connection: sqlite3.Connection) -> bool:
    """Whether no reader was in the way, which is not waited for."""
    with _translated():
        connection.execute("PRAGMA busy_timeout = 0")
        try:
            (is_busy, *_) = connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
        finally:
            connection.execute(f"PRAGMA busy_timeout = {round(BUSY_TIMEOUT_S * 1000)}")
    return not is_busy


def _transact(connection: sqlite3.Connection, work: Callable[[SessionShape], T]) -> T:
    with _translated():
        connection.execute("BEGIN IMMEDIATE")
        try:
            answer = work(Session(connection))
            connection.execute("COMMIT")
        except BaseException:
            if connection.in_transaction:
                connection.execute("ROLLBACK")
            raise
    return answer


@contextmanager
def _translated() -> Iterator[None]:
    try:
        yield
    except sqlite3.OperationalError as error:
        if _is_missing(error):
            raise Damaged(str(error)) from error
        raise Unavailable(f"the read tables can not be written: {error}") from error
    except (sqlite3.DataError, sqlite3.IntegrityError, sqlite3.InterfaceError, OverflowError) as error:
        raise RowRefused(str(error)) from error
    except sqlite3.ProgrammingError as error:
        raise RowRefused(str(error)) from error
    except sqlite3.DatabaseError as error:
        raise Damaged(str(error)) from error


def _is_missing(error: sqlite3.Error) -> bool:
    return str(error).startswith(("no such", "table"))


class _Threads:
    """Runs functions of a connection, each thread with its own."""

    def __init__(self, connect: Callable[[], sqlite3.Connection], name: str, count: int) -> None:
        self._connect = connect
        self._executor = ThreadPoolExecutor(count, thread_name_prefix=name)
        self._local = threading.local()
        self._connections: list[sqlite3.Connection] = []

    async def run(self, function: Callable[..., T], *arguments: object) -> T:
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._executor, self._call, function, arguments)

    async def close(self) -> None:
        await asyncio.to_thread(self._executor.shutdown)
        for connection in self._connections:
            connection.close()

    def _call(self, function: Callable[..., T], arguments: tuple[object, ...]) -> T:
        return function(self._connection(), *arguments)

    def _connection(self) -> sqlite3.Connection:
        if not hasattr(self._local, "connection"):
            self._local.connection = self._connect()
            self._connections.append(self._local.connection)
        connection: sqlite3.Connection = self._local.connection
        return connection


def connect_writer(path: Path) -> sqlite3.Connection:
    """Makes the file where there is none."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        connection = _connect(path, "rwc")
        _write_ahead(connection)
        connection.execute("PRAGMA synchronous = NORMAL")
        connection.execute("PRAGMA secure_delete = ON")
    except (OSError, sqlite3.Error) as error:
        raise Unavailable(f"the read tables can not be opened: {error}") from error
    return connection


def connect_reader(path: Path) -> sqlite3.Connection:
    try:
        return _connect(path, "rw")
    except sqlite3.Error as error:
        if path.exists():
            raise Unavailable("the read tables can not be opened") from error
        raise NotCaughtUp("the read tables are still to be built") from error


def _connect(path: Path, mode: str) -> sqlite3.Connection:
    return sqlite3.connect(
        f"{path.as_uri()}?mode={mode}",
        uri=True,
        timeout=BUSY_TIMEOUT_S,
        isolation_level=None,
        check_same_thread=False,
        cached_statements=256,
    )


def _write_ahead(connection: sqlite3.Connection) -> None:
    """The mode stays with the file. SQLite does not wait for others who are switching a new file just now."""
    deadline = time.monotonic() + BUSY_TIMEOUT_S
    while True:
        try:
            connection.execute("PRAGMA journal_mode = WAL")
        except sqlite3.OperationalError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.005)
        else:
            return
