"""The appender's hand on PostgreSQL: a batch goes out as arrays, one function call, one round trip, one
commit.

Called by the appender's task, and by the log to hear of growth. The rule of the log is in
`migrations/versions/v0001_append.sql`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import cast

import psycopg

from application.ports import Append, Appended, CommandRecord, Replayed
from domain.errors import Invalid
from infrastructure.event_log.appender import FlushFailed, FlushRefused
from infrastructure.event_log.deciding import Outcome, conflict
from infrastructure.event_log.postgres_arrays import Ints, PgArray, Texts
from infrastructure.event_log.postgres_batch import Columns
from infrastructure.event_log.postgres_connections import is_gone
from infrastructure.event_log.postgres_statement import with_rows_beside
from infrastructure.event_log.postgres_wire import Wire
from infrastructure.event_log.rows import RECORDS, command_id, command_record

FLUSH_TIMEOUT_S = 5

LISTEN = "LISTEN kasal_events"

LANDED = """
    SELECT a.place, e.notification_id, e.metadata
    FROM unnest(%b::text[], %b::bigint[]) WITH ORDINALITY AS a (stream, version, place)
    CROSS JOIN LATERAL (
        SELECT notification_id, metadata FROM kasal_events
        WHERE originator_id = a.stream AND originator_version = a.version OFFSET 0
    ) AS e
"""

RECORDS_OF = RECORDS + " WHERE key = ANY (%b)"

APPENDED, CONFLICT, REPLAYED = 0, 1, 2

POISONOUS = ("22", "23", "54", "P0")
"""Classes of SQLSTATE that say the command can not be stored now or later; any other may pass."""


class PostgresWriter:
    """`appender.Writer` on one connection, made when it is first needed and again after a loss.

    The connection also hears of growth: PostgreSQL tells a connection of its own commits in the answer to
    them, so that they wake neither a second backend nor this process once more.

    on_growth  is given the head of the log after every commit of any process
    """

    def __init__(self, url: str, on_growth: Callable[[int], None]) -> None:
        self._url = url
        self._on_growth = on_growth
        self._wire: Wire | None = None
        self._connecting = asyncio.Lock()

    async def listening(self) -> asyncio.Future[None]:
        """Once there is a connection that hears of growth; done when it has gone. Raises `FlushFailed`."""
        return (await self._connected()).gone

    async def flush(self, batch: Sequence[Append]) -> Sequence[Outcome]:
        columns = Columns(batch)
        query, before, behind = with_rows_beside(batch)
        *judged, head = (await self._execute(query, (*before, *columns.parameters(), *behind)))[0]
        if head is not None:
            return all_appended(batch, cast("int", head))
        outcomes, versions, positions = cast("tuple[list[int], list[int], list[int]]", judged)
        records = await self._records([a for a, o in zip(batch, outcomes, strict=True) if o == REPLAYED])
        return [
            self._outcome(append, columns, records, *answer)
            for append, answer in zip(batch, zip(outcomes, versions, positions, strict=True), strict=True)
        ]

    async def landed(self, appends: Sequence[Append]) -> Sequence[Appended | None]:
        streams = Texts([append.stream.encode() for append in appends])
        first_versions = Ints([append.expected_version + 1 for append in appends])
        found: list[Appended | None] = [None] * len(appends)
        rows = await self._execute(LANDED, (streams, first_versions))
        for place, position, metadata in cast("list[tuple[int, int, str]]", rows):
            append = appends[place - 1]
            if command_id(metadata) == append.events[0].metadata.command_id:
                more = len(append.events) - 1
                found[place - 1] = Appended(append.expected_version + 1 + more, position + more)
        return found

    async def close(self) -> None:
        if self._wire is not None:
            wire, self._wire = self._wire, None
            await wire.close()

    @staticmethod
    def _outcome(
        append: Append,
        columns: Columns,
        records: dict[str, CommandRecord],
        outcome: int,
        version: int,
        position: int,
    ) -> Outcome:
        if outcome == APPENDED:
            return Appended(version, position)
        if outcome == REPLAYED and append.record is not None:
            return Replayed(records[append.record.key])
        return conflict(append, columns.stream_at(position), version)

    async def _records(self, replayed: list[Append]) -> dict[str, CommandRecord]:
        keys = {append.record.key for append in replayed if append.record is not None}
        if not keys:
            return {}
        try:
            rows = await self._execute(RECORDS_OF, (Texts([key.encode() for key in keys]),))
        except FlushFailed as failure:
            raise FlushFailed(failure, may_stand=True) from failure
        return {record.key: record for record in map(command_record, rows)}

    async def _execute(self, query: str, parameters: Sequence[PgArray]) -> list[tuple[object, ...]]:
        wire = await self._connected()
        with self._judging(wire):
            return await wire.execute(query, parameters, FLUSH_TIMEOUT_S)

    async def _connected(self) -> Wire:
        if self._wire is not None and not self._wire.gone.done():
            return self._wire
        async with self._connecting:
            if self._wire is not None and self._wire.gone.done():
                self._drop(self._wire)
            if self._wire is None:
                self._wire = await self._connect()
            return self._wire

    async def _connect(self) -> Wire:
        try:
            wire = await Wire.connect(self._url, lambda head: self._on_growth(int(head)))
            try:
                await wire.execute(LISTEN, (), FLUSH_TIMEOUT_S)
            except BaseException:
                wire.drop()
                raise
        except psycopg.Error as error:
            raise FlushFailed(error, may_stand=False) from error
        return wire

    @contextmanager
    def _judging(self, wire: Wire) -> Iterator[None]:
        """Tell whose fault an error is: the connection's, which is dropped, a command's, or the server's."""
        try:
            yield
        except psycopg.Error as error:
            if wire.gone.done() or is_gone(wire.connection, error):
                self._drop(wire)
                raise FlushFailed(error, may_stand=True) from error
            if (error.sqlstate or "")[:2] in POISONOUS:
                raise FlushRefused(Invalid(f"the event log refused the command: {error}")) from error
            raise FlushFailed(error, may_stand=False) from error

    def _drop(self, wire: Wire) -> None:
        self._wire = None
        wire.drop()


def all_appended(batch: Sequence[Append], head: int) -> list[Outcome]:
    """Where the commands of a batch landed of which none was refused."""
    position = head - sum([len(append.events) for append in batch])
    return [
        Appended(append.expected_version + len(append.events), position := position + len(append.events))
        for append in batch
    ]
