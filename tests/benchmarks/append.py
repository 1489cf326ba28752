"""Appends of one-event commands beside raw group commit: same batches, bare driver calls, no checks.

Run by `make bench` or `python -m tests.benchmarks.append`. Other benchmarks call `measure` and `clients`.
Both sides are measured in turns in the same run, and the ratio of their medians is what counts.
"""

from __future__ import annotations

import asyncio
import sqlite3
import statistics
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from pathlib import Path

import msgspec
import psycopg

from application.ports import Append, NewEvent
from domain.message import Metadata
from infrastructure.clock import SystemClock
from infrastructure.event_log.opening import open_event_log
from infrastructure.event_log.schema import migrate
from tests.servers import postgres_database, postgres_server

SECONDS = 1.0
ROUNDS = 3
CONCURRENCIES = (1, 32, 128)

TAG = "execution.requested"
BODY = (
    b'{"type":"execution.requested","workflow_id":"01936b2c-0000-7000-8000-000000000000","workflow_version":3,'
    b'"inputs":{"industry":"chips","tone":"dry"}}'
)
RAW_TABLE = (
    "CREATE TABLE raw (position {serial}, stream text NOT NULL, version bigint NOT NULL, tag text NOT NULL,"
    " body {blob} NOT NULL, metadata text NOT NULL, UNIQUE (stream, version))"
)
RAW_COLUMNS = "INSERT INTO raw (stream, version, tag, body, metadata) "

RawRow = tuple[str, int, str, bytes, str]
Send = Callable[[], Awaitable[object]]

clock = SystemClock()


class Figure(msgspec.Struct, frozen=True):
    """Rate and latencies of one side at one concurrency."""

    per_s: float
    p50_ms: float
    p99_ms: float


class Comparison(msgspec.Struct, frozen=True):
    """The log beside raw group commit."""

    database: str
    concurrency: int
    log: Figure
    raw: Figure

    @property
    def ratio(self) -> float:
        return self.log.per_s / self.raw.per_s


async def clients(send: Send, concurrency: int, seconds: float = SECONDS) -> Figure:
    """`concurrency` coroutines that send one after another for `seconds`."""
    latencies: list[float] = []
    begin = time.perf_counter()

    async def client() -> None:
        while (sent := time.perf_counter()) - begin < seconds:
            await send()
            latencies.append(time.perf_counter() - sent)

    await asyncio.gather(*(client() for _ in range(concurrency)))
    return figure_of(latencies, time.perf_counter() - begin)


def figure_of(latencies_s: list[float], elapsed_s: float) -> Figure:
    centiles = statistics.quantiles(latencies_s, n=100)
    return Figure(len(latencies_s) / elapsed_s, centiles[49] * 1000, centiles[98] * 1000)


def a_command() -> Append:
    """One event on a new stream, as a request to start an execution makes it."""
    command_id = clock.new_id()
    metadata = Metadata(
        event_id=clock.new_id(),
        at=clock.now(),
        tenant="default",
        actor="user:ada",
        command_id=command_id,
        correlation_id=command_id,
    )
    return Append(
        stream=f"execution-{clock.new_id()}", expected_version=0, events=(NewEvent(TAG, BODY, metadata),)
    )


class RawGroupCommit:
    """What queued while the last batch was written is the next batch. Nothing else."""

    def __init__(self, write: Callable[[list[RawRow]], Awaitable[None]]) -> None:
        self._write = write
        self._queue: list[tuple[RawRow, asyncio.Future[None]]] = []
        self._wake = asyncio.Event()
        self._task = asyncio.create_task(self._run())

    async def send(self) -> None:
        (event,) = (command := a_command()).events
        metadata = msgspec.json.encode(event.metadata).decode()
        answer = asyncio.get_running_loop().create_future()
        self._queue.append(((command.stream, 1, event.tag, event.body, metadata), answer))
        self._wake.set()
        await answer

    async def _run(self) -> None:
        while await self._wake.wait():
            self._wake.clear()
            batch, self._queue = self._queue, []
            await self._write([row for row, _ in batch])
            for _, answer in batch:
                answer.set_result(None)

    async def close(self) -> None:
        self._task.cancel()
        await asyncio.wait([self._task])


@asynccontextmanager
async def raw_postgres(url: str) -> AsyncIterator[Send]:
    async with await psycopg.AsyncConnection.connect(url, autocommit=True) as connection:
        await connection.execute(RAW_TABLE.format(serial="bigserial PRIMARY KEY", blob="bytea"))
        insert = (
            RAW_COLUMNS
            + "SELECT * FROM unnest(%b::text[], %b::bigint[], %b::text[], %b::bytea[], %b::text[])"
        )

        async def write(rows: list[RawRow]) -> None:
            await connection.execute(
                insert.encode(), [list(column) for column in zip(*rows, strict=True)], prepare=True
            )

        group = RawGroupCommit(write)
        yield group.send
        await group.close()


@asynccontextmanager
async def raw_sqlite(path: Path) -> AsyncIterator[Send]:
    thread = ThreadPoolExecutor(1)
    connection = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
    connection.executescript("PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL")
    connection.execute(RAW_TABLE.format(serial="INTEGER PRIMARY KEY", blob="blob"))

    def insert(rows: list[RawRow]) -> None:
        connection.execute("BEGIN")
        connection.executemany(RAW_COLUMNS + "VALUES (?, ?, ?, ?, ?)", rows)
        connection.execute("COMMIT")

    async def write(rows: list[RawRow]) -> None:
        await asyncio.get_running_loop().run_in_executor(thread, insert, rows)

    group = RawGroupCommit(write)
    yield group.send
    await group.close()
    thread.shutdown()
    connection.close()


@asynccontextmanager
async def event_log(url: str) -> AsyncIterator[Send]:
    migrate(url)
    log = await open_event_log(url)
    yield lambda: log.append(a_command())
    await log.close()


async def compare(database: str, log: Send, raw: Send) -> list[Comparison]:
    """Both sides at each concurrency, in turns."""
    comparisons = []
    for concurrency in CONCURRENCIES:
        rounds = [(await clients(log, concurrency), await clients(raw, concurrency)) for _ in range(ROUNDS)]
        ours, bare = (sorted(side, key=lambda f: f.per_s)[ROUNDS // 2] for side in zip(*rounds, strict=True))
        comparisons.append(Comparison(database, concurrency, ours, bare))
    return comparisons


async def measure() -> list[Comparison]:
    """Every comparison, on both databases: about 40 seconds."""
    with (
        postgres_server() as server,
        postgres_database(server) as url,
        tempfile.TemporaryDirectory() as folder,
    ):
        async with event_log(url) as log, raw_postgres(url) as raw:
            comparisons = await compare("postgresql", log, raw)
        async with event_log(f"sqlite:///{folder}/log.db") as log, raw_sqlite(Path(folder, "raw.db")) as raw:
            comparisons += await compare("sqlite", log, raw)
    return comparisons


def main() -> None:
    titles = ("log/s", "p50 ms", "p99 ms", "raw/s", "p50 ms", "p99 ms", "ratio")
    print(f"{'append':12}{'c':>4}" + "".join(f"{title:>9}" for title in titles))
    for c in asyncio.run(measure()):
        figures = "".join(f"{f.per_s:>9.0f}{f.p50_ms:>9.2f}{f.p99_ms:>9.2f}" for f in (c.log, c.raw))
        print(f"{c.database:12}{c.concurrency:>4}{figures}{c.ratio:>9.2f}")


if __name__ == "__main__":
    main()
