"""One connection to PostgreSQL that the event loop listens to for as long as it lives.

Called by the writer, and by the log to hear of growth. Its one rule: a statement is prepared once, sent whole
and answered whole. psycopg's own `execute` turns to the event loop anew for every wait, which costs more
processor time than the statement itself.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from itertools import count
from typing import TypeAlias

import psycopg
from psycopg import pq
from psycopg.adapt import Transformer
from psycopg.errors import error_from_result

from infrastructure.event_log.postgres_arrays import PgArray
from infrastructure.event_log.postgres_connections import Connection, connect, hang_up_after

Row: TypeAlias = tuple[object, ...]


class Wire:
    """One statement at a time. What is raised is psycopg's: `OperationalError` once the connection is gone.

    on_notify  is given the payload of every notification
    gone       done when the connection has broken, whoever was waiting then
    """

    def __init__(self, connection: Connection, on_notify: Callable[[str], None] | None = None) -> None:
        self.connection = connection
        self.gone: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._pgconn = connection.pgconn
        self._on_notify = on_notify
        self._loop = asyncio.get_running_loop()
        self._prepared: dict[str, bytes] = {}
        self._results: list[pq.abc.PGresult] = []
        self._answer: asyncio.Future[pq.abc.PGresult] | None = None
        self._socket: int | None = self._pgconn.socket
        self._loop.add_reader(self._socket, self._hear)

    @classmethod
    async def connect(cls, url: str, on_notify: Callable[[str], None] | None = None) -> Wire:
        """Raises `psycopg.OperationalError`."""
        return cls(await connect(url), on_notify)

    async def execute(self, query: str, parameters: Sequence[PgArray], timeout_s: float) -> list[Row]:
        """Every row. `%b` stands for a parameter. A server that is silent for longer is hung up on."""
        with hang_up_after(self.connection, timeout_s):
            name = self._prepared.get(query) or await self._prepare(query, parameters)
            packed = [each.packed for each in parameters]
            binary = [pq.Format.BINARY] * len(packed)
            self._check_open()
            self._pgconn.send_query_prepared(name, packed, binary, pq.Format.BINARY)
            result = await self._answered()
        rows = Transformer.from_context(self.connection)
        rows.set_pgresult(result)
        return rows.load_rows(0, result.ntuples, tuple)

    def drop(self) -> None:
        """Give the connection up, whatever it is doing."""
        self._let_go()
        self._pgconn.finish()

    async def close(self) -> None:
        self._let_go()
        await self.connection.close()

    async def _prepare(self, query: str, parameters: Sequence[PgArray]) -> bytes:
        name = b"kasal_%d" % len(self._prepared)
        self._check_open()
        self._pgconn.send_prepare(name, numbered(query).encode(), [each.oid for each in parameters])
        await self._answered()
        self._prepared[query] = name
        return name

    def _check_open(self) -> None:
        if self._socket is None:
            raise psycopg.OperationalError("the connection is lost")

    async def _answered(self) -> pq.abc.PGresult:
        """What the statement that was just sent is answered with. Raises its error."""
        answer: asyncio.Future[pq.abc.PGresult] = self._loop.create_future()
        self._answer = answer
        try:
            while self._pgconn.flush():
                await self._writable()
            result = await answer
        except asyncio.CancelledError:
            self.drop()
            raise
        finally:
            self._answer = None
        if result.status not in (pq.ExecStatus.TUPLES_OK, pq.ExecStatus.COMMAND_OK):
            raise error_from_result(result)
        return result

    async def _writable(self) -> None:
        """Wait until the socket takes more, or the connection has broken."""
        if (socket := self._socket) is None:
            raise psycopg.OperationalError("the connection is lost")
        writable: asyncio.Future[None] = self._loop.create_future()

        def take() -> None:
            if not writable.done():
                writable.set_result(None)

        self._loop.add_writer(socket, take)
        try:
            await asyncio.wait([writable, self.gone], return_when=asyncio.FIRST_COMPLETED)
        finally:
            self._loop.remove_writer(socket)

    def _hear(self) -> None:
        """The socket has something to say."""
        try:
            self._pgconn.consume_input()
            self._take_notifications()
            self._take_results()
        except psycopg.Error as error:
            self._break(error)

    def _take_notifications(self) -> None:
        while (notification := self._pgconn.notifies()) is not None:
            if self._on_notify is not None:
                self._on_notify(notification.extra.decode())

    def _take_results(self) -> None:
        """A statement's results are whole when libpq has no more of them."""
        if self._answer is None:
            return
        while not self._pgconn.is_busy():
            result = self._pgconn.get_result()
            if result is None:
                if self._results and not self._answer.done():
                    self._answer.set_result(self._results[0])
                self._results.clear()
                return
            self._results.append(result)

    def _break(self, error: psycopg.Error) -> None:
        """A server that ends a connection may have said why, before the socket closed."""
        self._let_go()
        if self._answer is not None and not self._answer.done():
            if self._results:
                self._answer.set_result(self._results[0])
            else:
                self._answer.set_exception(error)

    def _let_go(self) -> None:
        if self._socket is not None:
            self._loop.remove_reader(self._socket)
            self._socket = None
        if not self.gone.done():
            self.gone.set_result(None)


def numbered(query: str) -> str:
    """`%b` in the server's form: $1, $2, ..."""
    first, *rest = query.split("%b")
    number = count(1)
    return first + "".join(f"${next(number)}{part}" for part in rest)
