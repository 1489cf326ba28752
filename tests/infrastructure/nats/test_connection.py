"""The connection: it never gives up, whatever the server says or does."""

from __future__ import annotations

import asyncio
import os
import signal
import time
from contextlib import suppress

import pytest
from nats import errors
from nats.aio.msg import Msg

from infrastructure.nats.connection import UNSENT_BYTES, Connection, connect
from infrastructure.nats.server import NatsServer
from tests.nats_servers import crash
from tests.waiting import eventually


async def answers(connection: Connection) -> bool:
    try:
        await connection.flush(1)
    except errors.Error:
        return False
    return connection.is_connected


async def test_it_waits_for_a_server_that_is_not_there_yet(own_nats_server: NatsServer) -> None:
    await crash(own_nats_server)
    connecting = asyncio.create_task(connect(own_nats_server.url, "test"))
    await asyncio.sleep(0)
    assert not connecting.done()
    await own_nats_server.start_again()
    connection = await asyncio.wait_for(connecting, 30)
    assert connection.is_connected
    await connection.close()


async def test_it_comes_back_after_a_crash_of_the_server(
    own_nats_server: NatsServer, nats_connection: Connection
) -> None:
    epoch = nats_connection.epoch
    await crash(own_nats_server)
    await own_nats_server.start_again()
    await eventually(lambda: nats_connection.epoch > epoch)
    await eventually(lambda: answers(nats_connection))


async def test_an_error_of_the_server_ends_no_connection(nats_connection: Connection) -> None:
    """A message above max_payload that the client lets through: the server says -ERR and hangs up."""
    epoch = nats_connection.epoch
    nats_connection._max_payload = 10**8
    await nats_connection.publish("too.large", b"x" * 2_000_000)
    await eventually(lambda: nats_connection.epoch > epoch)
    await eventually(lambda: answers(nats_connection))


async def test_a_request_whose_server_dies_fails_at_once(
    own_nats_server: NatsServer, nats_connection: Connection
) -> None:
    await nats_connection.subscribe("silence")
    asking = asyncio.create_task(nats_connection.request("silence", timeout=60))
    await nats_connection.flush()
    started = time.monotonic()
    await crash(own_nats_server)
    with pytest.raises(errors.StaleConnectionError):
        await asking
    assert time.monotonic() - started < 30


async def test_it_can_be_closed_while_the_server_is_away(own_nats_server: NatsServer) -> None:
    connection = await connect(own_nats_server.url, "test")
    await crash(own_nats_server)
    await eventually(lambda: not connection.is_connected)
    await connection.publish("never.sent", b"x")
    await connection.close()
    assert connection.is_closed


async def test_a_request_that_is_answered_while_it_is_cancelled_is_cancelled(
    nats_connection: Connection,
) -> None:
    async def never(message: Msg) -> None:
        """No answer comes from here: the test gives it in the moment of the cancellation."""

    await nats_connection.subscribe("silence", cb=never)
    asking = asyncio.create_task(nats_connection.request("silence", b"", timeout=5))
    waiting = await eventually(lambda: list(nats_connection._resp_map.values()))
    waiting[0].set_result(Msg(nats_connection))
    asking.cancel()
    await asyncio.wait([asking])
    assert asking.cancelled()


async def test_an_answer_that_comes_too_late_is_nobody_elses(nats_connection: Connection) -> None:
    asked: list[Msg] = []

    async def keep(message: Msg) -> None:
        asked.append(message)

    await nats_connection.subscribe("slow", cb=keep)
    with pytest.raises(errors.TimeoutError):
        await nats_connection.request("slow", b"first", timeout=0.05)
    second = asyncio.create_task(nats_connection.request("slow", b"second", timeout=30))
    await eventually(lambda: len(asked) == 2)
    for message in asked:
        await message.respond(message.data)
    assert (await second).data == b"second"


async def test_where_nobody_listens_a_request_says_so(nats_connection: Connection) -> None:
    with pytest.raises(errors.NoRespondersError):
        await nats_connection.request("nobody", b"", timeout=30)


async def test_what_was_published_is_with_the_server_when_it_was_flushed(
    nats_connection: Connection, nats_url: str
) -> None:
    """More than one write takes, and behind it a little; then the connection is cut without a word."""
    listener = await connect(nats_url, "listener")
    heard: list[int] = []

    async def hear(message: Msg) -> None:
        heard.append(len(message.data))

    await listener.subscribe("much", cb=hear)
    await listener.flush()
    for size in (300_000, 300_000, 10):
        await nats_connection.publish("much", b"x" * size)
    await nats_connection.flush(30)
    assert nats_connection._transport is not None
    nats_connection._transport.close()  # type: ignore[no-untyped-call]
    await eventually(lambda: len(heard) == 3)
    assert heard == [300_000, 300_000, 10]
    await listener.close()


async def test_no_messages_are_no_write(nats_connection: Connection) -> None:
    """On Python 3.12 and 3.13 a transport that was given nothing to write can not be closed."""
    sent = nats_connection.stats["out_msgs"]
    nats_connection.publish_all([])
    assert nats_connection._pending == []
    nats_connection.publish_all([("nobody", b"x", {"Name": "value"})])
    await nats_connection.flush(30)
    assert nats_connection.stats["out_msgs"] == sent + 1


async def test_what_a_server_does_not_take_is_bounded(
    own_nats_server: NatsServer, nats_connection: Connection
) -> None:
    """It hangs: what is published waits where nats-py counts it, not in the transport without end."""
    writer = nats_connection._transport._io_writer  # type: ignore[union-attr]
    os.kill(own_nats_server.pid, signal.SIGSTOP)
    try:
        for _ in range(100):
            await nats_connection.publish("much", b"x" * 100_000)
            await asyncio.sleep(0)
            assert writer.transport.get_write_buffer_size() <= 4 * UNSENT_BYTES
        assert nats_connection._pending_data_size
    finally:
        os.kill(own_nats_server.pid, signal.SIGCONT)
    await eventually(lambda: answers(nats_connection))


async def test_what_is_listened_to_comes_as_it_is_read_and_in_order(
    nats_connection: Connection, own_nats_server: NatsServer
) -> None:
    heard: list[bytes] = []
    subscription = await nats_connection.listen("told.>", lambda message: heard.append(message.data))
    for number in range(100):
        await nats_connection.publish(f"told.{number}", b"%d" % number)
    await nats_connection.flush()
    assert heard == [b"%d" % number for number in range(100)]
    await crash(own_nats_server)
    await own_nats_server.start_again()
    await eventually(lambda: told_again(nats_connection, heard))
    await subscription.unsubscribe()
    heard.clear()
    await nats_connection.publish("told.late", b"")
    await nats_connection.flush()
    assert not heard


async def told_again(connection: Connection, heard: list[bytes]) -> bool:
    with suppress(errors.Error):
        await connection.publish("told.again", b"again")
        await connection.flush(1)
    return heard[-1] == b"again"


async def test_half_a_message_of_a_broken_connection_swallows_nothing_of_the_next(
    nats_connection: Connection,
) -> None:
    """What was read between the break and the end of its reader."""
    await nats_connection.force_reconnect()
    await nats_connection._ps.parse(b"MSG some.subject 1 100000\r\nhalf of it")
    await eventually(lambda: answers(nats_connection), timeout_s=8)
