"""Connections to a SQLite log, and threads that hold one each.

Called by the SQLite adapter. Its one rule: a connection is used by the thread that made it, and by nobody
else.
"""

from __future__ import annotations

import asyncio
import sqlite3
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Concatenate, ParamSpec, TypeVar

BUSY_TIMEOUT_S = 1.0
"""How long one try of a write waits for another process's."""

P = ParamSpec("P")
T = TypeVar("T")


def connect(path: Path) -> sqlite3.Connection:
    """A connection in autocommit mode, durable on commit. Raises `sqlite3.OperationalError` where there is no
    log.
    """
    connection = sqlite3.connect(
        f"{path.absolute().as_uri()}?mode=rw",
        uri=True,
        timeout=BUSY_TIMEOUT_S,
        isolation_level=None,
        check_same_thread=False,
    )
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("PRAGMA synchronous = FULL")
    connection.execute("PRAGMA secure_delete = ON")
    return connection


class SqliteThreads:
    """Runs functions of a connection, each thread with its own; closing waits for what runs."""

    def __init__(self, path: Path, name: str, count: int, prepare: str = "") -> None:
        """prepare: a script of temporary things for each connection."""
        self._path = path
        self._prepare = prepare
        self._executor = ThreadPoolExecutor(count, thread_name_prefix=name)
        self._local = threading.local()
        self._connections: list[sqlite3.Connection] = []
        self._is_closed = False

    async def run(
        self, function: Callable[Concatenate[sqlite3.Connection, P], T], *args: P.args, **kwargs: P.kwargs
    ) -> T:
        """The function's answer. Raises what it raises, `sqlite3.OperationalError` where there is no log."""
        if self._is_closed:
            raise sqlite3.OperationalError("the file is closed")
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(
            self._executor, lambda: function(self._connection(), *args, **kwargs)
        )

    async def close(self) -> None:
        self._is_closed = True
        await asyncio.to_thread(self._executor.shutdown)
        for connection in self._connections:
            connection.close()

    def _connection(self) -> sqlite3.Connection:
        if not hasattr(self._local, "connection"):
            self._local.connection = connect(self._path)
            self._local.connection.executescript(self._prepare)
            self._connections.append(self._local.connection)
        connection: sqlite3.Connection = self._local.connection
        return connection
