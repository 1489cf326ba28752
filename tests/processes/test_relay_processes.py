"""Two relay processes, killed at random, a nats-server that is killed and wiped: the stream is the log."""

from __future__ import annotations

import asyncio
import os
import random
import shutil
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from application.ports import EventLog
from infrastructure.nats.connection import Connection
from infrastructure.nats.jetstream import ask
from infrastructure.nats.server import NatsServer
from infrastructure.nats.subjects import EVENTS
from tests.contracts.event_log_commands import a_command
from tests.nats_servers import crash, stream_contents
from tests.waiting import eventually

PAGES = (7, 500)
SEED = 20_261_124


class Relays:
    """Two relay processes with pages of different sizes; `kill` replaces one of them."""

    def __init__(self, log_url: str, nats_url: str) -> None:
        self._log_url = log_url
        self._environment = {**os.environ, "KASAL_NATS_URL": nats_url}
        self._processes = [self._start(page) for page in PAGES]

    def kill(self, which: int) -> None:
        """SIGKILL, then another one in its place."""
        self._processes[which].kill()
        self._processes[which].wait(10)
        self._processes[which] = self._start(PAGES[which])

    def are_running(self) -> bool:
        return all(process.poll() is None for process in self._processes)

    def end(self) -> None:
        for process in self._processes:
            process.kill()
            process.wait(10)

    def _start(self, page: int) -> subprocess.Popen[bytes]:
        command = [sys.executable, "-m", "tests.processes.relay_process", self._log_url, str(page)]
        return subprocess.Popen(command, env=self._environment)


@pytest.fixture
async def relays(event_log_url: str, nats_url: str) -> AsyncIterator[Relays]:
    relays = Relays(event_log_url, nats_url)
    yield relays
    relays.end()


@asynccontextmanager
async def appending(log: EventLog) -> AsyncIterator[None]:
    """Commands of one to five events, one after the other, for as long as the block lasts."""

    is_over = False

    async def append() -> None:
        number = 0
        while not is_over:
            number += 1
            await log.append(a_command(f"order-{number}", events=1 + number % 5))
            await asyncio.sleep(0.0005)

    task = asyncio.create_task(append())
    try:
        yield
    finally:
        is_over = True
        await task


async def events_in_feed(connection: Connection) -> int:
    """The stream's last sequence; 0 while it can not be said."""
    try:
        return (await ask(connection, f"STREAM.INFO.{EVENTS}")).state.last_seq
    except Exception:  # noqa: BLE001 - away, starting or not there: asked again
        return 0


async def assert_stream_is_log(log: EventLog, connection: Connection) -> None:
    """Every event once, in order, with its position for a sequence, byte for byte."""
    head = await log.head()

    async def is_complete() -> bool:
        return await events_in_feed(connection) == head

    await eventually(is_complete, timeout_s=30)
    contents = await stream_contents(connection)
    assert [sequence for sequence, _ in contents] == list(range(1, head + 1))
    assert [event for _, event in contents] == list(await log.read_all(0, head + 1))


async def more_in_feed(connection: Connection, than: int) -> int:
    """Wait until the relays get on."""

    async def has_more() -> int:
        last = await events_in_feed(connection)
        return last if last > than else 0

    return await eventually(has_more, timeout_s=30)


async def test_relays_that_are_killed_at_random_lose_and_repeat_nothing(
    event_log: EventLog, relays: Relays, nats_connection: Connection
) -> None:
    chance = random.Random(SEED)  # noqa: S311 - a repeatable order, no secret
    async with appending(event_log):
        last = 0
        for _ in range(8):
            last = await more_in_feed(nats_connection, last + chance.randrange(200))
            relays.kill(chance.randrange(2))
        await more_in_feed(nats_connection, last)
    await assert_stream_is_log(event_log, nats_connection)
    assert relays.are_running()


async def test_a_server_that_is_killed_while_relays_write_loses_and_repeats_nothing(
    event_log: EventLog, relays: Relays, nats_connection: Connection, own_nats_server: NatsServer
) -> None:
    async with appending(event_log):
        last = 0
        for _ in range(4):
            last = await more_in_feed(nats_connection, last + 100)
            await crash(own_nats_server)
            await own_nats_server.start_again()
        await more_in_feed(nats_connection, last)
    await assert_stream_is_log(event_log, nats_connection)
    assert relays.are_running()


async def test_a_stream_that_is_deleted_while_relays_write_is_made_anew_whole(
    event_log: EventLog, relays: Relays, nats_connection: Connection
) -> None:
    async with appending(event_log):
        for _ in range(3):
            await more_in_feed(nats_connection, 200)
            await ask(nats_connection, f"STREAM.DELETE.{EVENTS}")
        await more_in_feed(nats_connection, 200)
    await assert_stream_is_log(event_log, nats_connection)
    assert relays.are_running()


async def test_a_store_that_is_wiped_while_relays_write_is_made_anew_whole(
    event_log: EventLog,
    relays: Relays,
    nats_connection: Connection,
    own_nats_server: NatsServer,
    tmp_path: Path,
) -> None:
    async with appending(event_log):
        await more_in_feed(nats_connection, 200)
        await crash(own_nats_server)
        shutil.rmtree(tmp_path / "nats" / "jetstream")
        await own_nats_server.start_again()
        await more_in_feed(nats_connection, 200)
    await assert_stream_is_log(event_log, nats_connection)
    assert relays.are_running()
