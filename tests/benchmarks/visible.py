"""From a command over HTTP to its row in the read tables, beside the least code that could do it.

Run by `make bench`, 200 a second, both sides in turns of a second; the median of the rounds counts. Ours:
POST /v1/executions with `Prefer: wait`, answered when projections have it. The bare loop: INSERT, publish to
JetStream, a consumer that upserts; no HTTP, no checks, no history.
"""

from __future__ import annotations

import asyncio
import itertools
import statistics
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import msgspec
import psycopg
from nats.aio.msg import Msg

from infrastructure.nats.connection import connect
from infrastructure.nats.jetstream import ask
from infrastructure.nats.server import start_nats_server
from tests.benchmarks.append import Figure, figure_of
from tests.benchmarks.end_to_end import THREE_STEPS, Client, house
from tests.processes.stack import post
from tests.servers import postgres_database, postgres_server

PER_S = 200
SECONDS = 1.0
ROUNDS = 7
CONNECTIONS = 64
REACH = 2.5


Send = Callable[[], Awaitable[None]]


async def at_a_rate(send: Send) -> Figure:
    """`send` begun PER_S times a second, whatever the answers take; latencies from the moment it was due."""
    latencies: list[float] = []
    begin = time.perf_counter()

    async def one(due: float) -> None:
        await asyncio.sleep(max(0, due - time.perf_counter()))
        await send()
        latencies.append(time.perf_counter() - due)

    await asyncio.gather(*(one(begin + number / PER_S) for number in range(int(PER_S * SECONDS))))
    return figure_of(latencies, time.perf_counter() - begin)


@asynccontextmanager
async def ours(url: str) -> AsyncIterator[Send]:
    async with house(url, url, runners=0) as (up, _, _):
        workflow_id = post(up.client, "/v1/workflows", THREE_STEPS)["id"]
        body = msgspec.json.encode({"workflow_id": workflow_id, "inputs": {}})
        free: asyncio.Queue[Client] = asyncio.Queue()
        for _ in range(CONNECTIONS):
            free.put_nowait(await Client.open(up.url))

        async def send() -> None:
            client = await free.get()
            await client.post("/v1/executions", body, "Prefer: wait=10\r\n")
            free.put_nowait(client)

        yield send


@asynccontextmanager
async def bare(url: str) -> AsyncIterator[Send]:
    with tempfile.TemporaryDirectory() as folder:
        server = await start_nats_server(Path(folder))
        nats = await connect(server.url, "bare")
        await ask(nats, "STREAM.CREATE.BARE", {"name": "BARE", "subjects": ["bare"], "storage": "file"})
        writer = await psycopg.AsyncConnection.connect(url, autocommit=True)
        reader = await psycopg.AsyncConnection.connect(url, autocommit=True)
        await writer.execute("CREATE TABLE bare_log (id bigint PRIMARY KEY, body text)")
        await writer.execute("CREATE TABLE bare_rows (id bigint PRIMARY KEY, status text)")
        waiting: dict[int, asyncio.Future[None]] = {}
        numbers = itertools.count()

        async def project(message: Msg) -> None:
            number = int(message.data)
            await reader.execute(
                "INSERT INTO bare_rows VALUES (%s, 'PENDING')"
                " ON CONFLICT (id) DO UPDATE SET status = excluded.status",
                (number,),
            )
            waiting.pop(number).set_result(None)

        async def send() -> None:
            number = next(numbers)
            waiting[number] = visible = asyncio.get_running_loop().create_future()
            await writer.execute("INSERT INTO bare_log VALUES (%s, %s)", (number, "x" * 300))
            await nats.jetstream().publish("bare", str(number).encode())
            await visible

        await nats.jetstream().subscribe("bare", cb=project)
        yield send
        await nats.close()
        await writer.close()
        await reader.close()
        await server.stop()


def median(figures: Sequence[Figure]) -> tuple[float, float]:
    """(p50, p99) in ms, each the median of the rounds'."""
    return (
        statistics.median(figure.p50_ms for figure in figures),
        statistics.median(figure.p99_ms for figure in figures),
    )


async def measure() -> tuple[tuple[float, float], tuple[float, float]]:
    """Ours and the bare loop's, in turns, so that both meet the same disk."""
    with postgres_server() as server, postgres_database(server) as first, postgres_database(server) as second:
        async with ours(first) as send, bare(second) as send_bare:
            await at_a_rate(send)
            await at_a_rate(send_bare)
            rounds = [(await at_a_rate(send), await at_a_rate(send_bare)) for _ in range(ROUNDS)]
    house_, loop = zip(*rounds, strict=True)
    return median(house_), median(loop)


def main() -> None:
    (p50, p99), (bare_p50, bare_p99) = asyncio.run(measure())
    print(
        f"accept -> visible at {PER_S}/s, postgresql: p50 {p50:.1f} p99 {p99:.1f} ms; "
        f"bare loop {bare_p50:.1f} / {bare_p99:.1f} ms; "
        f"x{p50 / bare_p50:.2f} / x{p99 / bare_p99:.2f}   (reach: <= {REACH})"
    )


if __name__ == "__main__":
    main()
