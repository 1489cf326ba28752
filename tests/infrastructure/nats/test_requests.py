"""The command channel: requests are answered once a server is there, and drained before one goes."""

from __future__ import annotations

import asyncio
from collections import Counter

import pytest

from domain.errors import TooLarge, Unavailable
from infrastructure.nats.connection import Connection, connect
from infrastructure.nats.requests import request, serve
from infrastructure.nats.server import NatsServer
from tests.nats_servers import crash

SUBJECT = "kasal.commands"


async def echo(body: bytes) -> bytes:
    return b"re: " + body


async def test_a_request_is_answered(nats_connection: Connection) -> None:
    await serve(nats_connection, SUBJECT, echo, group="api", concurrency=4)
    assert await request(nats_connection, SUBJECT, b"hello", 5) == b"re: hello"


async def test_where_nobody_listens_the_other_side_is_unavailable(nats_connection: Connection) -> None:
    with pytest.raises(Unavailable, match=r"kasal\.commands was not answered within 0\.2 s"):
        await request(nats_connection, SUBJECT, b"hello", 0.2)


async def test_a_request_waits_for_somebody_to_listen(nats_connection: Connection) -> None:
    asking = asyncio.create_task(request(nats_connection, SUBJECT, b"hello", 10))
    await nats_connection.flush()
    await serve(nats_connection, SUBJECT, echo, group="api", concurrency=4)
    assert await asking == b"re: hello"


async def test_a_request_outlives_a_crash_of_the_server(
    own_nats_server: NatsServer, nats_connection: Connection
) -> None:
    await serve(nats_connection, SUBJECT, echo, group="api", concurrency=4)
    await crash(own_nats_server)
    asking = asyncio.create_task(request(nats_connection, SUBJECT, b"hello", 20))
    await own_nats_server.start_again()
    assert await asking == b"re: hello"


async def test_of_several_servers_one_answers(nats_connection: Connection, nats_url: str) -> None:
    seen: Counter[bytes] = Counter()

    async def count(body: bytes) -> bytes:
        seen[body] += 1
        return b""

    other = await connect(nats_url, "other")
    for connection in (nats_connection, other):
        await serve(connection, SUBJECT, count, group="api", concurrency=4)
    await asyncio.gather(*(request(nats_connection, SUBJECT, b"%d" % n, 5) for n in range(50)))
    assert seen == {b"%d" % n: 1 for n in range(50)}
    await other.close()


async def test_no_more_are_handled_at_once_than_allowed(nats_connection: Connection) -> None:
    running, peak = 0, 0

    async def slow(body: bytes) -> bytes:
        nonlocal running, peak
        running += 1
        peak = max(peak, running)
        await asyncio.sleep(0.01)
        running -= 1
        return body

    await serve(nats_connection, SUBJECT, slow, group="api", concurrency=3)
    await asyncio.gather(*(request(nats_connection, SUBJECT, b"", 10) for _ in range(30)))
    assert peak == 3


async def test_a_handler_that_fails_is_unavailable_and_does_not_end_the_service(
    nats_connection: Connection,
) -> None:
    async def fail_once(body: bytes) -> bytes:
        if body == b"fail":
            raise RuntimeError("a bug")
        return body

    await serve(nats_connection, SUBJECT, fail_once, group="api", concurrency=1)
    with pytest.raises(Unavailable):
        await request(nats_connection, SUBJECT, b"fail", 0.3)
    assert await request(nats_connection, SUBJECT, b"go on", 5) == b"go on"


async def test_an_answer_that_is_too_large_says_so(nats_connection: Connection) -> None:
    async def bloat(_: bytes) -> bytes:
        return b"x" * 2_000_000

    await serve(nats_connection, SUBJECT, bloat, group="api", concurrency=1)
    with pytest.raises(TooLarge):
        await request(nats_connection, SUBJECT, b"", 5)


async def test_a_request_that_is_too_large_says_so(nats_connection: Connection) -> None:
    with pytest.raises(TooLarge):
        await request(nats_connection, SUBJECT, b"x" * 2_000_000, 5)


async def test_draining_answers_what_was_taken_and_takes_nothing_new(nats_connection: Connection) -> None:
    go_on = asyncio.Event()

    async def wait(body: bytes) -> bytes:
        await go_on.wait()
        return body

    service = await serve(nats_connection, SUBJECT, wait, group="api", concurrency=1)
    asking = [asyncio.create_task(request(nats_connection, SUBJECT, b"%d" % n, 5)) for n in range(3)]
    await nats_connection.flush()
    draining = asyncio.create_task(service.drain())
    await nats_connection.flush()
    go_on.set()
    await draining
    assert await asyncio.gather(*asking) == [b"0", b"1", b"2"]
    with pytest.raises(Unavailable):
        await request(nats_connection, SUBJECT, b"late", 0.2)


async def test_draining_ends_even_when_a_handler_does_not(nats_connection: Connection) -> None:
    async def hang(_: bytes) -> bytes:
        await asyncio.Event().wait()
        return b""

    service = await serve(nats_connection, SUBJECT, hang, group="api", concurrency=1)
    asking = asyncio.create_task(request(nats_connection, SUBJECT, b"", 1))
    await nats_connection.flush()
    async with asyncio.timeout(30):
        await service.drain(timeout_s=0.2)
    with pytest.raises(Unavailable):
        await asking


async def test_requests_beyond_what_may_wait_are_dropped_and_come_again(
    nats_connection: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("infrastructure.nats.requests.MAX_WAITING", 2)
    monkeypatch.setattr("infrastructure.nats.requests.ATTEMPT_S", 0.3)
    go_on, begun = asyncio.Event(), Counter[bytes]()

    async def wait(body: bytes) -> bytes:
        begun[body] += 1
        await go_on.wait()
        return body

    await serve(nats_connection, SUBJECT, wait, group="api", concurrency=1)
    asking = [asyncio.create_task(request(nats_connection, SUBJECT, b"%d" % n, 30)) for n in range(6)]
    await nats_connection.flush()
    await asyncio.sleep(0.05)
    assert sum(begun.values()) == 1
    go_on.set()
    assert await asyncio.gather(*asking) == [b"%d" % n for n in range(6)]
    assert begun[b"5"] == 1
