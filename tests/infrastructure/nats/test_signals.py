"""Signals: heard by whoever listens, stored nowhere."""

from __future__ import annotations

import asyncio

from infrastructure.nats.connection import Connection
from infrastructure.nats.server import NatsServer
from infrastructure.nats.signals import MAX_UNHEARD, listening, signal
from infrastructure.nats.subjects import control_subject, tokens_subject
from tests.nats_servers import crash
from tests.waiting import eventually


async def test_who_listens_hears_what_is_signalled_in_its_order(nats_connection: Connection) -> None:
    async with listening(nats_connection, tokens_subject("acme", "e1")) as signals:
        for number in range(10):
            await signal(nats_connection, tokens_subject("acme", "e1"), b"%d" % number)
        heard = [await asyncio.wait_for(anext(signals), 30) for _ in range(10)]
    assert heard == [b"%d" % number for number in range(10)]


async def test_others_are_not_heard(nats_connection: Connection) -> None:
    async with listening(nats_connection, control_subject("e1")) as signals:
        await signal(nats_connection, control_subject("e2"), b"not for e1")
        await signal(nats_connection, control_subject("e1"), b"stop")
        assert await asyncio.wait_for(anext(signals), 30) == b"stop"


async def test_a_wildcard_hears_all(nats_connection: Connection) -> None:
    async with listening(nats_connection, "kasal.control.*") as signals:
        await signal(nats_connection, control_subject("e.1"), b"stop")
        assert await asyncio.wait_for(anext(signals), 30) == b"stop"


async def test_a_listener_hears_again_after_a_crash(
    own_nats_server: NatsServer, nats_connection: Connection
) -> None:
    async with listening(nats_connection, control_subject("e1")) as signals:
        await crash(own_nats_server)
        await eventually(lambda: not nats_connection.is_connected)
        await signal(nats_connection, control_subject("e1"), b"lost")
        await own_nats_server.start_again()
        await eventually(lambda: nats_connection.is_connected)
        await signal(nats_connection, control_subject("e1"), b"heard")
        assert await asyncio.wait_for(anext(signals), 30) == b"heard"


async def test_a_listener_that_is_slow_loses_signals_and_nothing_else(nats_connection: Connection) -> None:
    async with listening(nats_connection, control_subject("e1")) as signals:
        for number in range(3 * MAX_UNHEARD):
            await signal(nats_connection, control_subject("e1"), b"%d" % number)
        await nats_connection.flush()
        heard = [int(await asyncio.wait_for(anext(signals), 30)) for _ in range(MAX_UNHEARD)]
        await signal(nats_connection, control_subject("e1"), b"-1")
        while heard[-1] != -1:
            heard.append(int(await asyncio.wait_for(anext(signals), 30)))
    assert len(heard) < 3 * MAX_UNHEARD
    assert heard[:-1] == sorted(set(heard[:-1]))


async def test_listening_ends_with_the_connection(nats_connection: Connection) -> None:
    async with listening(nats_connection, control_subject("e1")) as signals:
        await nats_connection.close()
        assert [body async for body in signals] == []
