"""From a command over HTTP to its row in the read tables, beside the least code that could do it.

Run by `make bench`, 200 a second. Ours: POST /v1/executions with `Prefer: wait`, answered when projections
have it. The bare loop: INSERT, publish to JetStream, a consumer that upserts; no HTTP, no checks, no history.
"""

from __future__ import annotations

import asyncio
import tempfile
import time
from collections.abc import Awaitable, Callable
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
SECONDS = 5.0
CONNECTIONS = 64
REACH = 2.5


async def at_a_rate(send: Callable[[], Awaitable[None]]) -> Figure:
    """`send` begun PER_S times a second, whatever the answers take; latencies from the moment it was due."""
    latencies: list[float] = []
    begin = time.perf_counter()

    async def one(due: float) -> None:
        await asyncio.sleep(max(0, due - time.perf_counter()))
        await send()
        latencies.append(time.perf_counter() - due)

    await asyncio.gather(*(one(begin + number / PER_S) for number in range(int(PER_S * SECONDS))))
    return figure_of(latencies, time.perf_counter() - begin)


async def ours(url: str) -> Figure:
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

        await at_a_rate(send)
        return await at_a_rate(send)


async def bare(url: str) -> Figure:
    with tempfile.TemporaryDirectory() as folder:
        server = await start_nats_server(Path(folder))
        nats = await connect(server.url, "bare")
        await ask(nats, "STREAM.CREATE.BARE", {"name": "BARE", "subjects": ["bare"], "storage": "file"})
        writer = await psycopg.AsyncConnection.connect(url, autocommit=True)
        reader = await psycopg.AsyncConnection.connect(url, autocommit=True)
        await writer.execute("CREATE TABLE bare_log (id bigint PRIMARY KEY, body text)")
        await writer.execute("CREATE TABLE bare_rows (id bigint PRIMARY KEY, status text)")
        waiting: dict[int, asyncio.Future[None]] = {}

        async def project(message: Msg) -> None:
            number = int(message.data)
            await reader.execute(
                "INSERT INTO bare_rows VALUES (%s, 'PENDING')"
                " ON CONFLICT (id) DO UPDATE SET status = excluded.status",
                (number,),
            )
            waiting.pop(number).set_result(None)

        await nats.jetstream().subscribe("bare", cb=project)

        async def send() -> None:
            number = len(numbers)
            numbers.append(number)
            waiting[number] = asyncio.get_running_loop().create_future()
            await writer.execute("INSERT INTO bare_log VALUES (%s, %s)", (number, "x" * 300))
            await nats.jetstream().publish("bare", str(number).encode())
            if number in waiting:
                await waiting[number]

        numbers: list[int] = []
        await at_a_rate(send)
        figure = await at_a_rate(send)
        await nats.close()
        await writer.close()
        await reader.close()
        await server.stop()
        return figure


async def measure() -> tuple[Figure, Figure]:
    with postgres_server() as server, postgres_database(server) as first, postgres_database(server) as second:
        return await ours(first), await bare(second)


def main() -> None:
    house_, loop = asyncio.run(measure())
    print(
        f"accept -> visible at {PER_S}/s, postgresql: p50 {house_.p50_ms:.1f} p99 {house_.p99_ms:.1f} ms; "
        f"bare loop {loop.p50_ms:.1f} / {loop.p99_ms:.1f} ms; "
        f"x{house_.p50_ms / loop.p50_ms:.2f} / x{house_.p99_ms / loop.p99_ms:.2f}   (reach: <= {REACH})"
    )


if __name__ == "__main__":
    main()
