"""Executions of three no-op tasks through the whole house: HTTP, log, relay, JetStream, queue, runner.

Run by `make bench`. One `kasal up` (API, relay, projector, dispatcher) and one runner with the no-op engine;
the load generator here is a third process. Durable like production: the log's fsync is on, and each task's
completion is committed before the next begins.
"""

from __future__ import annotations

import asyncio
import tempfile
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from urllib.parse import urlsplit

import msgspec
from nats.aio.msg import Msg

from infrastructure.nats.connection import connect
from infrastructure.nats.server import start_nats_server
from tests.benchmarks.append import Figure, figure_of
from tests.processes.stack import Process, Up, post
from tests.servers import postgres_database, postgres_server

CONCURRENCIES = (1, 16, 64)
SECONDS = 4.0
WARM_UP_S = 1.0
COMPLETED = "kasal.events.*.execution.*.completed"

PEERS = {1: "Restate 111, DBOS 71, LangGraph 119", 16: "303, 84, 129", 64: "354, 74, 113"}
"""Workflows/s as measured on a like machine with PostgreSQL's defaults (Restate on its own store)."""

THREE_STEPS = {
    "name": "Three steps",
    "agents": {"worker": {"role": "Worker", "goal": "Work", "backstory": "Works", "model": "demo/small"}},
    "tasks": {
        name: {"agent": "worker", "description": "Work", "expected_output": "work", "context": []}
        for name in ("one", "two", "three")
    },
}


class Result(msgspec.Struct, frozen=True):
    database: str
    concurrency: int
    accepted: Figure
    completed: Figure


class Client:
    """One keep-alive HTTP connection; as little work as a client can do."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer

    @classmethod
    async def open(cls, url: str) -> Client:
        parts = urlsplit(url)
        return cls(*await asyncio.open_connection(parts.hostname, parts.port))

    async def post(self, path: str, body: bytes, more_headers: str = "") -> bytes:
        head = (
            f"POST {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\n"
            f"{more_headers}Content-Length: {len(body)}\r\n\r\n"
        )
        self._writer.write(head.encode() + body)
        answer = await self._reader.readuntil(b"\r\n\r\n")
        length = int(answer.lower().split(b"content-length:")[1].split(b"\r\n")[0])
        content = await self._reader.readexactly(length)
        assert answer.startswith(b"HTTP/1.1 201"), (answer, content)
        return content

    def close(self) -> None:
        self._writer.close()


class Ends:
    """Hears of completed executions from the event subjects, as any subscriber would."""

    def __init__(self) -> None:
        self._waiting: dict[str, asyncio.Future[None]] = {}

    async def heard(self, message: Msg) -> None:
        self._future(message.subject.split(".")[4]).set_result(None)

    async def of(self, execution_id: str) -> None:
        await self._future(execution_id)
        del self._waiting[execution_id]

    def _future(self, execution_id: str) -> asyncio.Future[None]:
        return self._waiting.setdefault(execution_id, asyncio.get_running_loop().create_future())


@asynccontextmanager
async def house(log_url: str, read_url: str, *, runners: int = 1) -> AsyncIterator[tuple[Up, Ends, str]]:
    """`kasal up` on the given databases, runners with the no-op engine, ears for completions, NATS's URL."""
    with tempfile.TemporaryDirectory(prefix="kasal-bench-") as name:
        folder = Path(name)
        nats = await start_nats_server(folder / "nats")
        settings = {"KASAL_NATS_URL": nats.url, "KASAL_LOG_URL": log_url, "KASAL_READ_URL": read_url}
        up = Up(folder / "d", "--runners", "0", **{key: value for key, value in settings.items() if value})
        processes: list[Process] = [up]
        for number in range(runners):
            data = {"KASAL_DATA_DIR": str(folder / f"r{number}"), "KASAL_NATS_URL": nats.url}
            options = ("runner", "--engine", "noop", "--processes", "1", "--concurrency", "200")
            processes.append(Process(folder / f"r{number}.log", *options, **data))
        connection, ends = await connect(nats.url, "bench"), Ends()
        await connection.subscribe(COMPLETED, cb=ends.heard)
        try:
            yield up, ends, nats.url
        finally:
            await connection.close()
            for process in processes:
                process.end()
            await nats.stop()


async def measure(
    up: Up, ends: Ends, workflow_id: str, concurrency: int, seconds: float
) -> tuple[Figure, Figure]:
    """(accepted, completed) of `concurrency` clients that run one execution after another."""
    body = msgspec.json.encode({"workflow_id": workflow_id, "inputs": {}})
    accepted: list[float] = []
    completed: list[float] = []
    begin = time.perf_counter()

    async def client() -> None:
        http = await Client.open(up.url)
        while (sent := time.perf_counter()) - begin < seconds:
            answer = msgspec.json.decode(await http.post("/v1/executions", body))
            accepted.append(time.perf_counter() - sent)
            await ends.of(answer["id"])
            completed.append(time.perf_counter() - sent)
        http.close()

    await asyncio.gather(*(client() for _ in range(concurrency)))
    elapsed = time.perf_counter() - begin
    return figure_of(accepted, elapsed), figure_of(completed, elapsed)


async def run(database: str, log_url: str = "", read_url: str = "") -> list[Result]:
    results = []
    async with house(log_url, read_url) as (up, ends, _):
        workflow_id = post(up.client, "/v1/workflows", THREE_STEPS)["id"]
        await measure(up, ends, workflow_id, 8, WARM_UP_S)
        for concurrency in CONCURRENCIES:
            figures = await measure(up, ends, workflow_id, concurrency, SECONDS)
            results.append(Result(database, concurrency, *figures))
    return results


async def measure_both() -> list[Result]:
    results = await run("sqlite")
    with postgres_server() as server, postgres_database(server) as url:
        results += await run("postgresql", url, url)
    return results


def main() -> None:
    results = asyncio.run(measure_both())
    print("\nthree no-op tasks, start to COMPLETED: executions/s, p50/p99 ms (accepted) and (completed)")
    for row in results:
        peers = PEERS[row.concurrency] if row.database == "postgresql" else ""
        print(
            f"  {row.database:10} c={row.concurrency:<3} {row.completed.per_s:7.0f}/s"
            f"   accepted {row.accepted.p50_ms:6.1f}/{row.accepted.p99_ms:<6.1f}"
            f" completed {row.completed.p50_ms:6.1f}/{row.completed.p99_ms:<6.1f}  {peers}"
        )


if __name__ == "__main__":
    main()
