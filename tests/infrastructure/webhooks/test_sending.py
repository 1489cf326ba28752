"""What is connected to, what is sent, and what an answer means."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import pytest

from application.webhooks.outcomes import DAY_S
from infrastructure.webhooks.sending import Sender, retry_after_s
from tests.interfaces.endpoint import Endpoint, listening

BODY = b'{"specversion":"1.0"}'


@pytest.fixture
async def endpoint() -> AsyncIterator[Endpoint]:
    async with listening() as endpoint:
        yield endpoint


class Names:
    """A resolver that answers as told, a list for each question in turn; counts the questions."""

    def __init__(self, *answers: list[str]) -> None:
        self._answers = list(answers)
        self.asked = 0

    async def __call__(self, host: str, port: int) -> Iterable[str]:
        self.asked += 1
        return self._answers.pop(0) if len(self._answers) > 1 else self._answers[0]


async def test_a_post_arrives_as_it_was_given(endpoint: Endpoint) -> None:
    sender = Sender(("127.0.0.1",))
    answer = await sender.post(endpoint.url + "?a=b", {"webhook-id": "1"}, BODY)
    await sender.close()
    assert answer.status == 200
    (received,) = endpoint.received
    assert (received.path, received.body) == ("/hook?a=b", BODY)
    assert received.headers["webhook-id"] == "1"
    assert received.headers["host"] == f"127.0.0.1:{endpoint.port}"


async def test_a_redirect_is_not_followed(endpoint: Endpoint) -> None:
    async with listening() as inner:
        endpoint.answer = lambda _: (307, {"Location": inner.url})
        sender = Sender(("127.0.0.1",))
        assert (await sender.post(endpoint.url, {}, BODY)).status == 307
        await sender.close()
        assert inner.received == []


@pytest.mark.parametrize(
    "addresses",
    [["127.0.0.1"], ["93.184.216.34", "10.0.0.1"], ["::1"], ["::ffff:127.0.0.1"], ["169.254.169.254"], []],
)
async def test_a_name_that_leads_to_a_private_address_is_not_connected_to(addresses: list[str]) -> None:
    sender = Sender(resolve=Names(addresses))
    answer = await sender.post("https://hooks.example.com/", {}, BODY)
    await sender.close()
    assert answer.status == 0
    assert "public" in answer.said or "no host" in answer.said


async def test_a_name_is_resolved_once_for_a_connection(endpoint: Endpoint) -> None:
    """DNS rebinding: the second answer, which is private, is never asked for."""
    names = Names(["127.0.0.1"], ["169.254.169.254"])
    url = f"http://hooks.example.com:{endpoint.port}/"
    sender = Sender(("hooks.example.com",), resolve=names, forbidden=lambda _: False)
    assert (await sender.post(url, {}, BODY)).status == 200
    assert (await sender.post(url, {}, BODY)).status == 200
    await sender.close()
    assert names.asked == 1
    assert endpoint.received[0].headers["host"] == f"hooks.example.com:{endpoint.port}"


async def test_an_allowed_name_is_only_that_name(endpoint: Endpoint) -> None:
    sender = Sender(("hooks.internal",), resolve=Names(["127.0.0.1"]))
    answer = await sender.post(f"https://other.example.com:{endpoint.port}/", {}, BODY)
    await sender.close()
    assert (answer.status, endpoint.received) == (0, [])


async def test_an_endpoint_that_says_nothing_is_given_up(endpoint: Endpoint) -> None:
    endpoint.gate.clear()
    sender = Sender(("127.0.0.1",), timeout_s=0.2)
    answer = await sender.post(endpoint.url, {}, BODY)
    await sender.close()
    assert (answer.status, answer.said) == (0, "no answer within 0.2 s")


async def test_an_endpoint_that_is_not_there_is_said_so() -> None:
    server = await asyncio.start_server(lambda _r, _w: None, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    server.close()
    await server.wait_closed()
    sender = Sender(("127.0.0.1",))
    answer = await sender.post(f"http://127.0.0.1:{port}/", {}, BODY)
    await sender.close()
    assert answer.status == 0
    assert answer.said.startswith("could not be reached")


async def test_an_endless_answer_is_cut() -> None:
    async def endless(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
        while not writer.is_closing():
            writer.write(b"1000\r\n" + b"x" * 4096 + b"\r\n")
            await writer.drain()

    server = await asyncio.start_server(endless, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    sender = Sender(("127.0.0.1",))
    assert (await sender.post(f"http://127.0.0.1:{port}/", {}, BODY)).status == 200
    await sender.close()
    server.close()


def test_retry_after_is_seconds_or_a_date_and_at_most_a_day() -> None:
    assert retry_after_s("120") == 120
    assert retry_after_s("9999999999") == DAY_S
    assert retry_after_s(None) == retry_after_s("soon") == retry_after_s("-5") == 0
    in_an_hour = format_datetime(datetime.now(UTC) + timedelta(hours=1), usegmt=True)
    assert 3_500 < retry_after_s(in_an_hour) <= 3_600
    assert retry_after_s("Wed, 21 Oct 2015 07:28:00 GMT") == 0
