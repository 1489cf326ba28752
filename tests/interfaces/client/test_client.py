"""The Python client, sync and async, against the real API over a real socket."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any, TypeVar

import httpx
import pytest

from interfaces.client import (
    AsyncKasal,
    Conflict,
    Event,
    Invalid,
    Kasal,
    NotFound,
    PositionGone,
    Token,
    Unreachable,
)
from interfaces.http.examples import BLOG
from tests.interfaces.stack import Stack
from tests.waiting import eventually

T = TypeVar("T")


@pytest.fixture
async def kasal(stack: Stack) -> AsyncIterator[AsyncKasal]:
    async with AsyncKasal(stack.url) as client:
        yield client


async def test_both_clients_have_the_same_calls() -> None:
    def calls(of: type) -> dict[str, list[str]]:
        methods = inspect.getmembers(of, inspect.isfunction)
        return {name: list(inspect.signature(each).parameters) for name, each in methods if name[0] != "_"}

    assert calls(Kasal) == calls(AsyncKasal)


async def test_a_workflow_is_saved_started_followed_and_ended(kasal: AsyncKasal) -> None:
    saved = await kasal.create_workflow(BLOG)
    started = await kasal.start(saved.id, {"industry": "tea"}, name="Mine")
    assert started.status == "PENDING"
    events: list[Event] = []
    async for event in kasal.follow(started.id):
        events.append(event)
        if len(events) == 2:
            await kasal.cancel(started.id, "enough")
    assert [event.type for event in events] == [
        "execution.requested",
        "execution.step_scheduled",
        "execution.cancelled",
    ]
    found = await kasal.execution(started.id, after=events[-1].position)
    assert (found.status, found.name, found.has_ended) == ("CANCELLED", "Mine", True)
    history = [item["type"] async for item in kasal.history(started.id, limit=2)]
    assert len(history) == 3
    assert await kasal.timeline(started.id)
    assert (await kasal.wait(started.id, timeout_s=60)).status == "CANCELLED"


async def test_the_same_in_a_thread_without_asyncio(stack: Stack) -> None:
    def run() -> tuple[list[str], str]:
        with Kasal(stack.url) as kasal:
            started = kasal.start(BLOG, {"industry": "tea"})
            types = []
            for event in kasal.follow(started.id, types=["execution.requested", "execution.cancelled"]):
                types.append(event.type)
                if len(types) == 1:
                    kasal.cancel(started.id)
            return types, kasal.wait(started.id, timeout_s=60).status

    types, status = await asyncio.to_thread(run)
    assert types == ["execution.requested", "execution.cancelled"]
    assert status == "CANCELLED"


async def test_a_query_sees_what_the_same_client_did(kasal: AsyncKasal) -> None:
    for _ in range(10):
        started = await kasal.start(BLOG, {"industry": "tea"})
        assert (await kasal.execution(started.id)).status == "PENDING"
        await kasal.cancel(started.id)
        assert (await kasal.execution(started.id)).status == "CANCELLED"


async def test_waiting_ends_in_time(kasal: AsyncKasal, stack: Stack) -> None:
    started = await kasal.start(BLOG, {"industry": "tea"})
    with pytest.raises(TimeoutError):
        await kasal.wait(started.id, timeout_s=0.2)

    def without_asyncio() -> None:
        with Kasal(stack.url) as plain:
            plain.wait(plain.start(BLOG, {"industry": "tea"}).id, timeout_s=0.2)

    with pytest.raises(TimeoutError):
        await asyncio.to_thread(without_asyncio)


async def test_lists_come_page_by_page(kasal: AsyncKasal) -> None:
    ids = [(await kasal.start(BLOG, {"industry": "tea"}, name="Paged", wait_s=10)).id for _ in range(5)]
    found = [item["id"] async for item in kasal.executions(name="Paged", limit=2)]
    assert found == ids[::-1]


async def test_a_refusal_is_an_error_of_its_kind(kasal: AsyncKasal) -> None:
    with pytest.raises(NotFound) as missing:
        await kasal.execution("none")
    assert (missing.value.status, missing.value.code) == (404, "not_found")
    with pytest.raises(Invalid) as wrong:
        await kasal.create_workflow({**BLOG, "nonsense": 1})
    assert [each.pointer for each in wrong.value.errors] == ["/nonsense"]
    assert "/nonsense" in str(wrong.value)
    saved = await kasal.create_workflow(BLOG)
    await kasal.archive_workflow(saved.id)
    with pytest.raises(Conflict):
        await kasal.revise_workflow(saved.id, BLOG)
    with pytest.raises(PositionGone):
        await anext(kasal.events(after=10**9))


async def test_the_same_key_starts_once(kasal: AsyncKasal) -> None:
    answers = [await kasal.start(BLOG, {"industry": "tea"}, key="once") for _ in range(2)]
    assert answers[0] == answers[1]


async def test_pieces_of_answers_come_along(kasal: AsyncKasal, stack: Stack) -> None:
    started = await kasal.start(BLOG, {"industry": "tea"})
    found: list[Event | Token] = []
    async for each in kasal.follow_with_tokens(started.id):
        found.append(each)
        if len(found) == 2:
            await eventually(lambda: stack.tokens.listeners(started.id))
            stack.tokens.say(started.id, b'{"call": "c", "text": "Hello"}')
        elif isinstance(each, Token):
            await kasal.cancel(started.id)
    assert found[2] == Token(call="c", text="Hello")


class Flaky(httpx.AsyncBaseTransport):
    """Fails as told before a request, or cuts a stream after so many bytes; what passes is real."""

    def __init__(self, failures: Callable[[int], bool], cut_after: int | None = None) -> None:
        self._real = httpx.AsyncHTTPTransport()
        self._failures = failures
        self._cut_after = cut_after
        self.requests = 0

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        self.requests += 1
        if self._failures(self.requests):
            raise httpx.ConnectError("no way")
        answer = await self._real.handle_async_request(request)
        if self._cut_after is not None and "event-stream" in answer.headers.get("content-type", ""):
            answer.stream = Cut(answer.stream, self._cut_after)
        return answer


class Cut(httpx.AsyncByteStream):
    def __init__(self, stream: Any, after: int) -> None:
        self._stream = stream
        self._left = after

    async def __aiter__(self) -> AsyncIterator[bytes]:
        async for piece in self._stream:
            yield piece[: self._left]
            self._left -= len(piece)
            if self._left <= 0:
                raise httpx.ReadError("cut")

    async def aclose(self) -> None:
        await self._stream.aclose()


@asynccontextmanager
async def flaky(stack: Stack, transport: Flaky) -> AsyncIterator[AsyncKasal]:
    async with (
        httpx.AsyncClient(base_url=stack.url, transport=transport) as http,
        AsyncKasal(http=http) as kasal,
    ):
        yield kasal


async def test_a_command_whose_answer_was_lost_is_sent_again_and_done_once(stack: Stack) -> None:
    class Lost(Flaky):
        async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
            answer = await super().handle_async_request(request)
            if self.requests == 1:
                await answer.aread()
                raise httpx.ReadError("the answer was lost")
            return answer

    head = await stack.log.head()
    async with flaky(stack, Lost(lambda _: False)) as kasal:
        await kasal.start(BLOG, {"industry": "tea"})
    assert await stack.log.head() == head + 2


async def test_a_stream_that_is_cut_anywhere_gives_every_event_once(
    stack: Stack, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("interfaces.client.following.PAUSE_S", (0.001, 0.001))
    head = await stack.log.head()
    for _ in range(10):
        await stack.execution(await stack.workflow())
    end = await stack.log.head()
    transport = Flaky(lambda number: number % 3 == 0, cut_after=3_001)
    async with flaky(stack, transport) as kasal:
        seen: list[int] = []
        async for event in kasal.events(after=head):
            seen.append(event.position)
            if event.position == end:
                break
    assert seen == list(range(head + 1, end + 1))
    assert transport.requests > 3


async def test_an_execution_is_paused_and_goes_on(kasal: AsyncKasal) -> None:
    started = await kasal.start(BLOG, {"industry": "tea"})
    paused = await kasal.pause(started.id, "a look", wait_s=10)
    assert (await kasal.execution(started.id, after=paused.position)).status == "PAUSED"
    resumed = await kasal.resume(started.id, wait_s=10)
    assert (await kasal.execution(started.id, after=resumed.position)).status != "PAUSED"


async def test_what_can_not_be_reached_is_said_so() -> None:
    async with AsyncKasal("http://127.0.0.1:1") as kasal:
        with pytest.raises(Unreachable):
            await kasal.execution("x")
