"""The audit: the walk over a log of a million events, what the hash tree costs an append, a long history.

Run by `make bench`. Each figure stands beside what bounds it, measured in the same run: the walk beside
reading and hashing the same rows, appends with the keeper beside appends without it.
"""

from __future__ import annotations

import asyncio
import sqlite3
import statistics
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, closing
from pathlib import Path

import msgspec
import psycopg

from application.audit.keeping import Interval, Keeper, keep_checkpoints
from application.audit.merkle import leaf_hash
from application.audit.verifying import verify_log
from application.ports import Append, EventLog, NewEvent
from domain.message import Event, tag_of
from infrastructure.audit_keys import PublicKeys, SigningKey
from infrastructure.clock import SystemClock
from infrastructure.event_log.opening import open_audit_store, open_event_log
from infrastructure.event_log.rows import encode_metadata
from infrastructure.event_log.schema import migrate
from infrastructure.nats.memory import MemoryFeed
from tests.benchmarks.append import BODY, TAG, a_command, clients
from tests.benchmarks.fold import events
from tests.interfaces.stack import running
from tests.servers import postgres_database, postgres_server

EVENTS = 1_000_000
CHECKPOINT_EVERY = 4_096
CLIENTS = 32
ROUNDS = 5
SECONDS = 1.5
PAGES = 300

KEY = SigningKey.generate("kasal/benchmark")
clock = SystemClock()

Rows = Iterator[tuple[int, str, int, str, bytes, str]]


def rows(count: int) -> Rows:
    """As an execution of ten events each would leave them."""
    (event,) = a_command().events
    metadata = encode_metadata(event.metadata).decode()
    for position in range(1, count + 1):
        stream, version = divmod(position - 1, 10)
        yield position, f"execution-{stream:032d}", version + 1, TAG, BODY, metadata


def fill(path: Path, count: int) -> None:
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("PRAGMA synchronous = OFF")
        connection.executemany("INSERT INTO kasal_events VALUES (?, ?, ?, ?, ?, ?)", rows(count))
        connection.execute("UPDATE kasal_head SET position = ?", (count,))


def fill_server(url: str, count: int) -> None:
    with psycopg.connect(url) as server, server.cursor() as cursor:
        with cursor.copy("COPY kasal_events FROM STDIN") as copy:
            for row in rows(count):
                copy.write_row(row)
        cursor.execute("UPDATE kasal_head SET position = %s", (count,))


async def walk(name: str, url: str) -> None:
    """Sign a million events and verify them."""
    store = open_audit_store(url)
    try:
        began = time.perf_counter()
        keeper = await Keeper.of(store, KEY, clock)
        while await keeper.extend(CHECKPOINT_EVERY - keeper.unsigned):
            if keeper.unsigned == CHECKPOINT_EVERY:
                await keeper.sign()
        await keeper.sign()
        signing_s = time.perf_counter() - began
        began, cpu = time.perf_counter(), time.process_time()
        result = await verify_log(store, PublicKeys([KEY.public]))
        verifying_s, verifying_cpu_s = time.perf_counter() - began, time.process_time() - cpu
        assert result.is_sound
        assert result.covered == EVENTS
    finally:
        await store.close()
    print(
        f"verify {EVENTS:,} events on {name}: {EVENTS / verifying_s:,.0f} events/s (limit 100,000), "
        f"{EVENTS / verifying_cpu_s:,.0f} for each second of CPU"
    )
    print(f"  build the tree, {result.checkpoints} checkpoints: {EVENTS / signing_s:,.0f} events/s")


def bare_s(path: Path) -> float:
    query = """
        SELECT notification_id, originator_version, CAST(originator_id AS BLOB), CAST(topic AS BLOB), state,
            CAST(metadata AS BLOB)
        FROM kasal_events ORDER BY notification_id
    """
    began = time.perf_counter()
    with closing(sqlite3.connect(path)) as connection:
        for row in connection.execute(query):
            leaf_hash(row)
    return time.perf_counter() - began


async def appends(name: str, url: str) -> None:
    """In turns with the keeper and without it, on one log."""
    migrate(url)
    log = await open_event_log(url)
    with_keeper: list[float] = []
    without: list[float] = []
    await clients(lambda: log.append(a_command()), CLIENTS, 0.5)
    for _ in range(ROUNDS):
        async with keeping(url, log):
            with_keeper.append((await clients(lambda: log.append(a_command()), CLIENTS, SECONDS)).per_s)
        without.append((await clients(lambda: log.append(a_command()), CLIENTS, SECONDS)).per_s)
    await log.close()
    cost = 1 - statistics.median(with_keeper) / statistics.median(without)
    print(
        f"append on {name}, {CLIENTS} clients: {statistics.median(without):,.0f}/s, with the hash tree "
        f"{statistics.median(with_keeper):,.0f}/s: {cost:+.1%} (limit 5%)"
    )


@asynccontextmanager
async def keeping(url: str, log: EventLog) -> AsyncIterator[None]:
    store = open_audit_store(url)
    interval = Interval(10, CHECKPOINT_EVERY)
    task = asyncio.create_task(keep_checkpoints(store, KEY, clock, interval, log.wait_beyond))
    try:
        yield
    finally:
        task.cancel()
        await asyncio.wait([task])
        await store.close()


async def history(folder: Path) -> None:
    """The first page of an execution of 10,000 events, over HTTP."""
    async with running(folder / "http", MemoryFeed()) as stack:
        made = events()
        for at in range(0, len(made), 500):
            await stack.log.append(chunk(made[at : at + 500], at))
        head = await stack.log.head()
        path = "/v1/executions/long/history"
        while (await stack.client.get(path, params={"after": head})).status_code != 200:
            pass
        page = await latencies(lambda: stack.client.get(path))
        least = await latencies(lambda: stack.client.get("/livez"))
    print(
        f"history of {len(made):,} events, first page: p50 {page[49]:.1f} ms, p99 {page[98]:.1f} ms "
        f"(limit 20), an empty answer p99 {least[98]:.1f} ms"
    )


def chunk(made: list[Event], at: int) -> Append:
    first = a_command().events[0].metadata
    new = tuple(NewEvent(tag_of(event), msgspec.json.encode(event), first) for event in made)
    return Append(stream="execution-long", expected_version=at, events=new)


async def latencies(send: Callable[[], Awaitable[object]]) -> list[float]:
    """Centiles in milliseconds."""
    taken = []
    for _ in range(PAGES):
        began = time.perf_counter()
        await send()
        taken.append((time.perf_counter() - began) * 1000)
    return statistics.quantiles(taken, n=100)


async def main() -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "http").mkdir()
        log = folder / "walk.db"
        migrate(f"sqlite:///{log}")
        fill(log, EVENTS)
        await walk("SQLite", f"sqlite:///{log}")
        print(f"  read and hash the same rows: {EVENTS / bare_s(log):,.0f} events/s")
        with postgres_server() as server, postgres_database(server) as url:
            migrate(url)
            fill_server(url, EVENTS)
            await walk("PostgreSQL", url)
        await appends("SQLite", f"sqlite:///{folder / 'append.db'}")
        with postgres_server() as server, postgres_database(server) as url:
            await appends("PostgreSQL", url)
        await history(folder)


if __name__ == "__main__":
    asyncio.run(main())
