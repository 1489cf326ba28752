"""Feed and work queue beside what NATS alone does in the same run: rates, and latencies end to end.

Run by `make bench` or `python -m tests.benchmarks.feed`. Its one rule: every figure stands beside its limit,
measured on the same server; sync_interval is one second, as it is in use.
"""

from __future__ import annotations

import asyncio
import statistics
import tempfile
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

from domain.message import Recorded
from infrastructure.nats.connection import Connection, connect
from infrastructure.nats.feed import JetStreamFeed
from infrastructure.nats.server import start_nats_server
from infrastructure.nats.work import JetStreamWorkQueue
from tests.contracts.event_feed_contract import a_page
from tests.contracts.work_queue_contract import a_step

EVENTS = 20_000
PAGE = 500
TRIPS = 300


async def rate(count: int, action: Callable[[], Awaitable[object]]) -> float:
    """Pieces a second of an action that handles so many."""
    started = time.perf_counter()
    await action()
    return count / (time.perf_counter() - started)


def percentiles(seconds: list[float]) -> str:
    cuts = statistics.quantiles(seconds, n=100)
    return f"p50 {cuts[49] * 1000:.2f} ms, p99 {cuts[98] * 1000:.2f} ms"


async def round_trips(connection: Connection) -> list[float]:
    """The limit of every latency here: a question to the server that it answers at once."""
    trips = []
    for _ in range(TRIPS):
        started = time.perf_counter()
        await connection.flush()
        trips.append(time.perf_counter() - started)
    return trips


async def publish(feed: JetStreamFeed, events: list[Recorded]) -> None:
    for first in range(0, len(events), PAGE):
        await feed.publish(events[first : first + PAGE])


async def follow(feed: JetStreamFeed, count: int) -> None:
    async for batch in feed.follow(0):
        count -= len(batch)
        if count <= 0:
            return


async def raw_follow(connection: Connection, count: int) -> None:
    """nats-py's own ordered consumer, and nothing done with what comes."""
    subscription = await connection.jetstream().subscribe("kasal.events.>", ordered_consumer=True)
    for _ in range(count):
        await subscription.next_msg(10)
    await subscription.unsubscribe()


async def event_latency(feed: JetStreamFeed) -> list[float]:
    """From the call of `publish` with one event until a follower has it."""
    seconds = []
    batches = feed.follow(EVENTS)
    for position in range(EVENTS + 1, EVENTS + TRIPS + 1):
        started = time.perf_counter()
        publishing = asyncio.create_task(feed.publish(a_page(position, position)))
        while not await anext(batches):
            pass
        seconds.append(time.perf_counter() - started)
        await publishing
    return seconds


async def work_latency(queue: JetStreamWorkQueue) -> tuple[list[float], list[float]]:
    """From the call of `enqueue` until a waiting taker has the work; and of `done`."""
    to_taker, to_done = [], []
    for number in range(TRIPS):
        taking = asyncio.create_task(queue.take(["default"], 10))
        await asyncio.sleep(0.002)
        started = time.perf_counter()
        await queue.enqueue(a_step(f"e{number}"))
        delivery = await taking
        to_taker.append(time.perf_counter() - started)
        assert delivery is not None
        started = time.perf_counter()
        await delivery.done()
        to_done.append(time.perf_counter() - started)
    return to_taker, to_done


async def measure(folder: Path) -> None:
    started = time.perf_counter()
    server = await start_nats_server(folder)
    print(f"nats-server ready after {(time.perf_counter() - started) * 1000:.0f} ms")
    connection = await connect(server.url, "bench")
    feed, queue = JetStreamFeed(connection), JetStreamWorkQueue(connection)
    await feed.create(1)
    events = a_page(1, EVENTS)
    print(f"round trip: {percentiles(await round_trips(connection))}")
    print(f"publish, pages of {PAGE}: {await rate(EVENTS, lambda: publish(feed, events)):,.0f} events/s")
    raw = await rate(EVENTS, lambda: raw_follow(connection, EVENTS))
    ours = await rate(EVENTS, lambda: follow(feed, EVENTS))
    print(f"follow: {ours:,.0f} events/s; nats-py alone {raw:,.0f}/s; {ours / raw:.2f}")
    print(f"publish one -> followed: {percentiles(await event_latency(feed))}")
    to_taker, to_done = await work_latency(queue)
    print(f"enqueue -> taken: {percentiles(to_taker)}; done: {percentiles(to_done)}")
    await connection.close()
    await server.stop()


def main() -> None:
    with tempfile.TemporaryDirectory(prefix="kasal-bench-") as folder:
        asyncio.run(measure(Path(folder)))


if __name__ == "__main__":
    main()
