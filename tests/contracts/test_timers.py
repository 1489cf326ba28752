"""The contract of timers, on memory and JetStream; and what only a server can do."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from application.timers import Timers
from infrastructure.nats.connection import Connection, connect
from infrastructure.nats.jetstream import ask
from infrastructure.nats.memory_timers import MemoryTimers
from infrastructure.nats.server import NatsServer
from infrastructure.nats.subjects import TIMERS
from infrastructure.nats.timers import JetStreamTimers
from tests.contracts.timers_contract import TimersContract, a_timer, rung
from tests.nats_servers import crash


class TestMemoryTimers(TimersContract):
    @pytest.fixture
    def timers(self) -> Timers:
        return MemoryTimers()


class TestJetStreamTimers(TimersContract):
    @pytest.fixture
    def timers(self, nats_connection: Connection) -> Timers:
        return JetStreamTimers(nats_connection)


@pytest.fixture
async def own_connection(own_nats_server: NatsServer) -> AsyncIterator[Connection]:
    connection = await connect(own_nats_server.url, "test")
    yield connection
    await connection.close()


async def test_a_timer_that_falls_due_while_the_server_is_killed_rings_when_it_is_back(
    own_nats_server: NatsServer, own_connection: Connection
) -> None:
    timers = JetStreamTimers(own_connection)
    before = await timers.incarnation()
    await timers.set(a_timer(in_s=1))
    await crash(own_nats_server)
    await own_nats_server.start_again()
    assert (await rung(timers)).timer.key == "e1"
    assert await timers.incarnation() != before


async def test_a_store_that_was_lost_is_made_again_and_is_another(own_connection: Connection) -> None:
    timers = JetStreamTimers(own_connection)
    before = await timers.incarnation()
    assert await timers.take(0.1) is None
    await ask(own_connection, f"STREAM.DELETE.{TIMERS}")
    await timers.set(a_timer())
    assert await timers.incarnation() != before
    assert (await rung(timers)).timer.key == "e1"
