"""Events to their subscribers: how many a second, how soon, and what an idle subscriber costs.

Run by `make bench`. Ours: `kasal up` without runners; subscribers read the raw bytes of a response or a
WebSocket. Beside the fan-out the least server that could do it: asyncio, which writes the same bytes from
memory.
"""

from __future__ import annotations

import asyncio
import re
import resource
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from contextlib import asynccontextmanager
from datetime import datetime
from functools import partial
from pathlib import Path
from urllib.parse import urlsplit

import msgspec
from websockets.asyncio.client import connect

from tests.benchmarks.append import figure_of
from tests.benchmarks.end_to_end import THREE_STEPS, Client
from tests.processes.stack import Up, post

EVENTS = 4_000
SUBSCRIBERS = (1, 10, 100)
PER_S = 200
SECONDS = 5.0
IDLE = 2_000
TARGET_MS = 25.0
TIME = re.compile(rb'"time":"([^"]+)"')
END = b"\n\n"
MARK = b'"specversion"'
"""Once in every event, over SSE and over a WebSocket."""

LIVE_EVENTS = 1_000
WRITERS = 8
UPGRADE = (
    "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
    "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
)
PATHS = {"SSE": "/v1/events", "WebSocket": "/v1/events/ws"}

Connection = tuple[asyncio.StreamReader, asyncio.StreamWriter]


@asynccontextmanager
async def stack() -> AsyncIterator[tuple[Up, bytes]]:
    """`kasal up`, and the body that starts an execution: two events each."""
    with tempfile.TemporaryDirectory() as folder:
        up = await asyncio.to_thread(Up, Path(folder), "--runners", "0")
        try:
            workflow_id = (await asyncio.to_thread(post, up.client, "/v1/workflows", THREE_STEPS))["id"]
            yield up, msgspec.json.encode({"workflow_id": workflow_id, "inputs": {}})
        finally:
            await asyncio.to_thread(up.end)


async def subscribe(port: int, path: str) -> Connection:
    reader, writer = await asyncio.open_connection("127.0.0.1", port, limit=1 << 20)
    upgrade = UPGRADE if path.startswith(PATHS["WebSocket"]) else ""
    writer.write(f"GET {path} HTTP/1.1\r\nHost: localhost\r\n{upgrade}\r\n".encode())
    await reader.readuntil(b"\r\n\r\n")
    return reader, writer


async def read(port: int, path: str, count: int) -> None:
    await read_on(await subscribe(port, path), count)


async def read_on(connection: Connection, count: int) -> None:
    """Until so many events have come."""
    reader, writer = connection
    seen, rest = 0, b""
    while seen < count:
        chunk = await reader.read(1 << 18)
        if not chunk:
            raise ConnectionError(f"the stream ended after {seen} events")
        piece = rest + chunk
        seen += piece.count(MARK)
        rest = piece[1 - len(MARK) :]
    writer.transport.abort()


async def fan_out(reading: Callable[[], Awaitable[None]], subscribers: int, events: int) -> float:
    """Events a second, all subscribers together."""
    begin = time.perf_counter()
    await asyncio.gather(*(reading() for _ in range(subscribers)))
    return subscribers * events / (time.perf_counter() - begin)


@asynccontextmanager
async def bare(event: bytes, count: int) -> AsyncIterator[int]:
    """The port of a server that writes an event so often to whoever comes."""
    page = event * 100

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\n\r\n")
        for _ in range(count // 100):
            writer.write(page)
            await writer.drain()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    yield server.sockets[0].getsockname()[1]
    server.close()


async def throughput(up: Up, body: bytes) -> None:
    port = urlsplit(up.url).port or 0
    client = await Client.open(up.url)
    for _ in range(EVENTS // 2):
        await client.post("/v1/executions", body)
    reader, writer = await subscribe(port, "/v1/events?after=100")
    await reader.readuntil(END)
    event = await reader.readuntil(END)
    writer.close()
    async with bare(event, EVENTS) as bare_port:
        for subscribers in SUBSCRIBERS:
            count = EVENTS if subscribers < 100 else EVENTS // 4
            least = await fan_out(partial(read, bare_port, "/", EVENTS), subscribers, EVENTS)
            for name, path in PATHS.items():
                ours = await fan_out(partial(read, port, f"{path}?after=1", count), subscribers, count)
                print(
                    f"catching up, {name:9} {subscribers:3} subscribers: {ours:9,.0f} events/s   "
                    f"(bare writes of the same bytes {least:9,.0f}, x{ours / least:.2f})"
                )


async def live(up: Up, body: bytes) -> None:
    """Starts as fast as they are taken; each subscriber reads on as they are recorded."""
    port = urlsplit(up.url).port or 0
    clients = [await Client.open(up.url) for _ in range(WRITERS)]
    alone = await written(clients, body)
    print(f"live, nobody listens: {LIVE_EVENTS / alone:,.0f} events/s are recorded")
    for subscribers in SUBSCRIBERS:
        for name, path in PATHS.items():
            connections = [await subscribe(port, path) for _ in range(subscribers)]
            reading = [asyncio.create_task(read_on(each, LIVE_EVENTS)) for each in connections]
            await asyncio.sleep(0.5)
            begin = time.perf_counter()
            writing_s = await written(clients, body)
            await asyncio.gather(*reading)
            taken_s = time.perf_counter() - begin
            sent_per_s, recorded_per_s = subscribers * LIVE_EVENTS / taken_s, LIVE_EVENTS / writing_s
            print(
                f"live, {name:9} {subscribers:3} subscribers: {sent_per_s:9,.0f} events/s, "
                f"{recorded_per_s:,.0f}/s recorded, the last one there {taken_s - writing_s:.2f} s later"
            )


async def written(clients: list[Client], body: bytes) -> float:
    """Seconds that so many events took: two a start."""

    async def write(client: Client) -> None:
        for _ in range(LIVE_EVENTS // 2 // WRITERS + 1):
            await client.post("/v1/executions", body)

    begin = time.perf_counter()
    await asyncio.gather(*(write(client) for client in clients))
    return time.perf_counter() - begin


async def latencies_sse(up: Up, count: int) -> list[float]:
    reader, writer = await subscribe(urlsplit(up.url).port or 0, "/v1/events")
    found: list[float] = []
    while len(found) < count:
        piece = await reader.readuntil(END)
        found.extend(ages(piece))
    writer.close()
    return found


async def latencies_socket(up: Up, count: int) -> list[float]:
    found: list[float] = []
    async with connect(up.url.replace("http", "ws", 1) + "/v1/events/ws") as socket:
        while len(found) < count:
            found.extend(ages(str(await socket.recv()).encode()))
    return found


def ages(piece: bytes) -> Iterable[float]:
    """How long ago each event was decided, before it was committed: more than commit to client."""
    now = time.time()
    return [now - datetime.fromisoformat(match[1].decode()).timestamp() for match in TIME.finditer(piece)]


async def latency(up: Up, body: bytes) -> None:
    """Two events a start: so many starts that the events come at PER_S."""
    count = int(PER_S * SECONDS)
    for name, watch in (("SSE", latencies_sse), ("WebSocket", latencies_socket)):
        watching = [asyncio.create_task(watch(up, count)) for _ in range(5)]
        await asyncio.sleep(0.5)
        client = await Client.open(up.url)
        begin = time.perf_counter()
        for number in range(count):
            await asyncio.sleep(max(0, begin + number * 2 / PER_S - time.perf_counter()))
            await client.post("/v1/executions", body)
            if all(task.done() for task in watching):
                break
        figure = figure_of([age for task in watching for age in await task], SECONDS)
        print(
            f"decided -> client at {PER_S} events/s, 5 subscribers, {name}: p50 {figure.p50_ms:.1f} "
            f"p99 {figure.p99_ms:.1f} ms   (target: p99 < {TARGET_MS:g} ms)"
        )


def resident_kib(pid: int) -> int:
    found = re.search(r"VmRSS:\s+(\d+)", Path(f"/proc/{pid}/status").read_text())
    return int(found[1]) if found else 0


async def idle(up: Up) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(max(soft, 8_192), hard), hard))
    port = urlsplit(up.url).port or 0
    before = resident_kib(up.popen.pid)
    streams = [await subscribe(port, "/v1/events") for _ in range(IDLE)]
    after = resident_kib(up.popen.pid)
    print(f"{IDLE} idle SSE subscribers: {(after - before) / IDLE:.1f} KiB each")
    for _, writer in streams:
        writer.close()
    await asyncio.sleep(1)
    before = resident_kib(up.popen.pid)
    url = up.url.replace("http", "ws", 1) + "/v1/events/ws"
    sockets = [await connect(url, compression=None, ping_interval=None) for _ in range(IDLE)]
    after = resident_kib(up.popen.pid)
    print(f"{IDLE} idle WebSockets: {(after - before) / IDLE:.1f} KiB each (over what SSE has left)")
    for socket in sockets:
        socket.transport.abort()


async def measure() -> None:
    async with stack() as (up, body):
        await latency(up, body)
        await idle(up)
        await live(up, body)
        await throughput(up, body)


if __name__ == "__main__":
    asyncio.run(measure())
