"""POST /v1/executions beside the same route without a log: requests/s, p50 and p99 at c = 1, 32 and 128.

Run by `make bench` or `python -m tests.benchmarks.http`. Server and load generator are processes of their
own, over uvicorn and real sockets; both sides take turns in the same run, and the ratio is what counts.
"""

from __future__ import annotations

import asyncio
import sys
import tempfile
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import cast

import msgspec
import uvloop

from tests.benchmarks.append import Figure, figure_of
from tests.benchmarks.http_server import WORKFLOW
from tests.servers import postgres_database, postgres_server

SECONDS = 1.0
ROUNDS = 3
CONCURRENCIES = (1, 32, 128)
BODY = msgspec.json.encode({"workflow_id": WORKFLOW, "inputs": {"industry": "solar power", "tone": "dry"}})


class Comparison(msgspec.Struct, frozen=True):
    """The route on a log beside the route without one."""

    database: str
    concurrency: int
    api: Figure
    stub: Figure

    @property
    def ratio(self) -> float:
        return self.api.per_s / self.stub.per_s


class Connection(asyncio.Protocol):
    """Sends the next request when the answer to the last has come."""

    def __init__(self, request: bytes, latencies: list[float], until: float) -> None:
        self._request = request
        self._latencies = latencies
        self._until = until
        self._answer = b""
        self._sent = 0.0
        self.ended: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)
        self._send()

    def data_received(self, data: bytes) -> None:
        self._answer += data
        head, found, body = self._answer.partition(b"\r\n\r\n")
        length = head.lower().partition(b"content-length:")[2].partition(b"\r\n")[0]
        if not found or len(body) < int(length):
            return
        if not head.startswith(b"HTTP/1.1 201"):
            self.ended.set_exception(RuntimeError(self._answer.decode("utf-8", "replace")))
            return
        self._latencies.append(time.perf_counter() - self._sent)
        self._answer = b""
        if time.perf_counter() < self._until:
            self._send()
        else:
            self._transport.close()
            self.ended.set_result(None)

    def connection_lost(self, error: Exception | None) -> None:
        if not self.ended.done():
            self.ended.set_exception(RuntimeError("the server hung up"))

    def _send(self) -> None:
        self._sent = time.perf_counter()
        self._transport.write(self._request)


async def load(port: int, concurrency: int, seconds: float) -> Figure:
    head = f"POST /v1/executions HTTP/1.1\r\nHost: localhost:{port}\r\nContent-Type: application/json\r\n"
    request = f"{head}Content-Length: {len(BODY)}\r\n\r\n".encode() + BODY
    latencies: list[float] = []
    begin = time.perf_counter()
    loop = asyncio.get_running_loop()
    opened = [
        await loop.create_connection(
            lambda: Connection(request, latencies, begin + seconds), "127.0.0.1", port
        )
        for _ in range(concurrency)
    ]
    await asyncio.gather(*(connection.ended for _, connection in opened))
    return figure_of(latencies, time.perf_counter() - begin)


@asynccontextmanager
async def server(kind: str, url: str) -> AsyncIterator[int]:
    """The port of a server process."""
    command = (sys.executable, "-m", "tests.benchmarks.http_server", kind, url)
    process = await asyncio.create_subprocess_exec(*command, stdout=asyncio.subprocess.PIPE)
    assert process.stdout is not None
    try:
        async with asyncio.timeout(60):
            port = int(await process.stdout.readline())
        yield port
    finally:
        process.terminate()
        await process.wait()


async def compare(database: str, url: str) -> AsyncIterator[Comparison]:
    """Both sides at each concurrency, in turns; the median round of each."""
    async with server("api", url) as api, server("stub", url) as stub:
        for port in (api, stub):
            await load(port, 8, 1.0)
        for concurrency in CONCURRENCIES:
            rounds = [
                (await load(api, concurrency, SECONDS), await load(stub, concurrency, SECONDS))
                for _ in range(ROUNDS)
            ]
            ours, bare = (
                sorted(side, key=lambda figure: figure.per_s)[ROUNDS // 2]
                for side in zip(*rounds, strict=True)
            )
            yield Comparison(database, concurrency, ours, bare)


async def measure() -> list[Comparison]:
    """On both databases: about 80 seconds."""
    with (
        postgres_server() as postgres,
        postgres_database(postgres) as url,
        tempfile.TemporaryDirectory() as folder,
    ):
        found = [comparison async for comparison in compare("postgresql", url)]
        return found + [comparison async for comparison in compare("sqlite", f"sqlite:///{folder}/log.db")]


def main() -> None:
    titles = ("api/s", "p50 ms", "p99 ms", "stub/s", "p50 ms", "p99 ms", "ratio")
    print(f"{'POST executions':16}{'c':>4}" + "".join(f"{title:>9}" for title in titles))
    for c in uvloop.run(measure()):
        figures = "".join(f"{f.per_s:>9.0f}{f.p50_ms:>9.2f}{f.p99_ms:>9.2f}" for f in (c.api, c.stub))
        print(f"{c.database:16}{c.concurrency:>4}{figures}{c.ratio:>9.2f}")


if __name__ == "__main__":
    main()
