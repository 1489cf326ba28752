"""Read models beside the bare drivers: a rebuild beside paged reads and upserts, a page beside one SELECT.

Run by `make bench` or `python -m tests.benchmarks.projections [events]`. Both sides are measured in turns in
the same run, on the same events and rows; the ratio of their medians is what counts.
"""

from __future__ import annotations

import asyncio
import sqlite3
import statistics
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable, Sequence
from datetime import timedelta
from functools import partial
from typing import Any

import msgspec
import psycopg
import structlog
from psycopg_pool import AsyncConnectionPool

from application.ports import Append, EventLog, NewEvent
from domain.execution import StartStep
from domain.message import Recorded
from infrastructure.event_log.opening import open_event_log
from infrastructure.event_log.schema import migrate
from projections.building import prepare
from projections.database import ReadDatabase, open_read_database
from projections.execution_list import EXECUTION_LIST, list_executions
from projections.operations import rebuild
from projections.projector import BACKGROUND_PAGE
from tests.benchmarks.append import Figure, clients
from tests.projections.histories import START, History, definition, history_of, repeated, request
from tests.servers import postgres_database, postgres_server

EVENTS = 200_000
PAGED_EXECUTIONS = 100_000
CONCURRENCY = 32
ROUNDS = 3

READ = (
    "SELECT notification_id, originator_id, topic, state FROM kasal_events "
    "WHERE notification_id > {place} ORDER BY notification_id LIMIT {place}"
)
RAW_TABLE = "CREATE TABLE raw_list (id text PRIMARY KEY, events bigint, position bigint, last text)"
UPSERT = (
    "INSERT INTO raw_list (id, events, position, last) {values} ON CONFLICT (id) DO UPDATE SET "
    "events = raw_list.events + excluded.events, position = excluded.position, last = excluded.last"
)
RECORDSET = (
    "SELECT * FROM json_to_recordset(%s::text::json) AS x(id text, events bigint, position bigint, last text)"
)
PAGE_COLUMNS = (
    "id text, name text, status text, workflow_id text, workflow_name text, workflow_version bigint, "
    "created_at text, started_at text, ended_at text, duration_ms bigint, model_calls bigint, "
    "tool_calls bigint, prompt_tokens bigint, completion_tokens bigint, cost_usd float8, error text, "
    "version bigint, position bigint"
)
PAGE_NAMES = tuple(column.split()[0] for column in PAGE_COLUMNS.split(", "))
RAW_PAGE = (
    f"SELECT {', '.join(PAGE_NAMES)} FROM raw_pages "
    "WHERE tenant = %s ORDER BY created_at DESC, id DESC LIMIT 50"
)


class Rebuild(msgspec.Struct, frozen=True):
    """Events a second: `rebuild` of execution_list, and raw paged reads with an upsert of a bare count."""

    database: str
    events: int
    rebuild_per_s: float
    raw_per_s: float

    @property
    def ratio(self) -> float:
        return self.rebuild_per_s / self.raw_per_s


class Pages(msgspec.Struct, frozen=True):
    """A page of 50, newest first: `list_executions`, and one SELECT of 18 columns, encoded by msgspec."""

    database: str
    rows: int
    query: Figure
    raw: Figure

    @property
    def ratio(self) -> float:
        return self.query.per_s / self.raw.per_s


async def fill(log: EventLog, count: int) -> None:
    """Executions that run beside one another, about `count` events."""
    streams: dict[str, list[NewEvent]] = {}
    for recorded in repeated(history_of(executions=40).events, count):
        event = NewEvent(recorded.tag, recorded.body, recorded.metadata)
        streams.setdefault(recorded.stream, []).append(event)
    slots = asyncio.Semaphore(500)

    async def append(stream: str, events: Sequence[NewEvent]) -> None:
        async with slots:
            for version in range(0, len(events), 8):
                part = tuple(events[version : version + 8])
                await log.append(Append(stream=stream, expected_version=version, events=part))

    await asyncio.gather(*(append(stream, events) for stream, events in streams.items()))


def raw_postgres(url: str) -> None:
    """The same pages and the same kind of upsert, with nothing in between."""
    with psycopg.connect(url) as connection:
        connection.execute("DROP TABLE IF EXISTS raw_list")
        connection.execute(RAW_TABLE)
        at = 0
        while page := connection.execute(
            READ.format(place="%s"), (at, BACKGROUND_PAGE), binary=True
        ).fetchall():
            at = page[-1][0]
            rows = [
                dict(zip(("id", "events", "position", "last"), row, strict=True)) for row in counted(page)
            ]
            statement = UPSERT.format(values=RECORDSET)
            connection.execute(statement.encode(), (msgspec.json.encode(rows).decode(),))
            connection.commit()


def raw_sqlite(log_path: str, read_path: str) -> None:
    log = sqlite3.connect(log_path)
    read = sqlite3.connect(read_path)
    read.executescript(f"PRAGMA journal_mode = WAL; DROP TABLE IF EXISTS raw_list; {RAW_TABLE}")
    at = 0
    while page := log.execute(READ.format(place="?"), (at, BACKGROUND_PAGE)).fetchall():
        at = page[-1][0]
        read.executemany(UPSERT.format(values="VALUES (?, ?, ?, ?)"), counted(page))
        read.commit()
    log.close()
    read.close()


def counted(page: Sequence[tuple[Any, ...]]) -> list[tuple[Any, ...]]:
    """A fold that could not be smaller: id, events, last position, last tag."""
    rows: dict[str, tuple[Any, ...]] = {}
    for position, stream, tag, body in page:
        msgspec.json.decode(body)
        events = rows[stream][1] if stream in rows else 0
        rows[stream] = (stream, events + 1, position, tag)
    return list(rows.values())


async def rate(events: int, work: Callable[[], Awaitable[object]]) -> float:
    begin = time.perf_counter()
    await work()
    return events / (time.perf_counter() - begin)


async def compare_rebuild(
    database: str, log: EventLog, read_db: ReadDatabase, raw: Callable[[], None]
) -> Rebuild:
    events = await log.head()
    ours, bare = [], []
    for _ in range(ROUNDS):
        ours.append(await rate(events, partial(rebuild, EXECUTION_LIST, read_db, log)))
        bare.append(await rate(events, partial(asyncio.to_thread, raw)))
    return Rebuild(database, events, statistics.median(ours), statistics.median(bare))


async def measure_rebuild(events: int = EVENTS) -> list[Rebuild]:
    """`rebuild` of execution_list on both databases; about 15 s for 200,000 events."""
    found = []
    with (
        postgres_server() as server,
        postgres_database(server) as url,
        tempfile.TemporaryDirectory() as folder,
    ):
        files = f"{folder}/log.db", f"{folder}/read.db"
        for database, log_url, read_url, raw in (
            ("postgresql", url, url, partial(raw_postgres, url)),
            ("sqlite", f"sqlite:///{files[0]}", f"sqlite:///{files[1]}", partial(raw_sqlite, *files)),
        ):
            migrate(log_url)
            log, read_db = await open_event_log(log_url), await open_read_database(read_url)
            await fill(log, events)
            await read_db.write(partial(prepare, projections=[EXECUTION_LIST]))
            found.append(await compare_rebuild(database, log, read_db, raw))
            await log.close()
            await read_db.close()
    return found


class Executions:
    """A log of executions that were requested and have begun, three events each."""

    def __init__(self, count: int) -> None:
        history = History()
        history.handle(request("e", definition(), workflow_id="blog"))
        history.handle(StartStep(execution_id="e", step="crew", turn=1, delivery=1, runner="r1"))
        self._events = history.events
        self._count = count * len(history.events)

    async def head(self) -> int:
        return self._count

    async def read_all(self, after_position: int, limit: int) -> Sequence[Recorded]:
        last = min(after_position + limit, self._count)
        return [self._event(position) for position in range(after_position + 1, last + 1)]

    async def read_stream(self, stream: str, after_version: int = 0) -> Sequence[Recorded]:
        return ()

    def _event(self, position: int) -> Recorded:
        number, version = divmod(position - 1, len(self._events))
        metadata = msgspec.structs.replace(
            self._events[0].metadata, at=START + timedelta(milliseconds=position)
        )
        return msgspec.structs.replace(
            self._events[version],
            position=position,
            stream=f"execution-0193-{number:08d}",
            metadata=metadata,
        )


def spread_columns(url: str) -> None:
    """The same rows as columns, as a table for a bare SELECT would have them."""
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(
            f"CREATE TABLE raw_pages AS SELECT list.tenant, x.* FROM execution_list AS list, "
            f"json_to_record(list.doc::json) AS x({PAGE_COLUMNS})".encode()
        )
        connection.execute("CREATE INDEX ON raw_pages (tenant, created_at, id)")
        connection.execute("VACUUM ANALYZE raw_pages")


async def raw_page(pool: AsyncConnectionPool[Any]) -> bytes:
    async with pool.connection() as connection:
        cursor = await connection.execute(RAW_PAGE, ("default",))
        rows = await cursor.fetchall()
    return msgspec.json.encode({"items": [dict(zip(PAGE_NAMES, row, strict=True)) for row in rows]})


async def measure_pages(executions: int = PAGED_EXECUTIONS) -> Pages:
    """Pages of 50 of many executions on PostgreSQL, at c=32; about 25 s."""
    with postgres_server() as server, postgres_database(server) as url:
        read_db = await open_read_database(url)
        await read_db.write(partial(prepare, projections=[EXECUTION_LIST]))
        await rebuild(EXECUTION_LIST, read_db, Executions(executions))
        spread_columns(url)
        async with AsyncConnectionPool(url, min_size=8, open=False, kwargs={"autocommit": True}) as pool:
            await pool.wait()
            sides = (partial(list_executions, read_db, "default"), partial(raw_page, pool))
            rounds = [[await clients(side, CONCURRENCY) for side in sides] for _ in range(ROUNDS)]
        await read_db.close()
    ours, raw = (sorted(side, key=lambda f: f.per_s)[ROUNDS // 2] for side in zip(*rounds, strict=True))
    return Pages("postgresql", executions, ours, raw)


async def measure(events: int = EVENTS) -> None:
    """Print every figure; about 45 s."""
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(30))
    for rebuilt in await measure_rebuild(events):
        print(
            f"rebuild of execution_list, {rebuilt.database}, {rebuilt.events} events: "
            f"{rebuilt.rebuild_per_s:,.0f}/s; raw {rebuilt.raw_per_s:,.0f}/s; {rebuilt.ratio:.2f}"
        )
    pages = await measure_pages()
    for side, figure in (("list_executions", pages.query), ("raw psycopg", pages.raw)):
        print(
            f"page of 50, {side}: {figure.per_s:,.0f}/s, p50 {figure.p50_ms:.1f}, p99 {figure.p99_ms:.1f} ms"
        )
    print(f"page of 50, ratio: {pages.ratio:.2f}")


if __name__ == "__main__":
    asyncio.run(measure(*map(int, sys.argv[1:])))
