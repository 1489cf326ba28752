"""Streams: history and live without a seam, resuming, ends, tokens, and a feed that is away."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

import pytest

from application.ports import EventFeed
from infrastructure.nats.connection import connect
from infrastructure.nats.feed import JetStreamFeed
from infrastructure.nats.memory import MemoryFeed
from infrastructure.nats.server import NatsServer
from tests.interfaces.sse import Reader, stream
from tests.interfaces.stack import Stack, running
from tests.nats_servers import crash
from tests.waiting import eventually


async def cancel(stack: Stack, execution_id: str) -> int:
    answer = await stack.client.post(f"/v1/executions/{execution_id}/cancel")
    return int(answer.json()["position"])


async def test_a_stream_of_an_execution_begins_with_its_history_and_ends_with_it(stack: Stack) -> None:
    started = await stack.execution()
    async with stream(stack.client, f"/v1/executions/{started['id']}/stream") as reader:
        assert reader.response.headers["content-type"] == "text/event-stream; charset=utf-8"
        assert reader.response.headers["cache-control"] == "no-store"
        assert reader.response.headers["x-accel-buffering"] == "no"
        history = await reader.take(2)
        ended_at = await cancel(stack, started["id"])
        rest = await reader.rest()
    assert [event.name for event in history] == [
        "io.kasal.execution.requested",
        "io.kasal.execution.step_scheduled",
    ]
    assert [event.name for event in rest] == ["io.kasal.execution.cancelled", "end"]
    assert rest[0].position == ended_at
    assert (rest[0].data["type"], rest[0].data["subject"]) == ("io.kasal.execution.cancelled", started["id"])
    assert (rest[1].id, rest[1].data) == ("", {})


async def test_an_execution_that_has_ended_streams_its_history_and_ends(stack: Stack) -> None:
    started = await stack.execution()
    ended_at = await cancel(stack, started["id"])
    path = f"/v1/executions/{started['id']}/stream"
    async with stream(stack.client, path) as reader:
        events = await reader.rest()
    assert [event.name.rpartition(".")[2] for event in events] == [
        "requested",
        "step_scheduled",
        "cancelled",
        "end",
    ]
    again = await stack.client.get(path, headers={"Last-Event-ID": str(ended_at)})
    assert again.status_code == 204


async def test_a_stream_goes_on_after_the_last_event_id(stack: Stack) -> None:
    started = await stack.execution()
    await cancel(stack, started["id"])
    path = f"/v1/executions/{started['id']}/stream"
    async with stream(stack.client, path) as reader:
        events = (await reader.rest())[:-1]
    for index, event in enumerate(events[:-1]):
        async with stream(stack.client, path, last_event_id=event.position, after=0) as reader:
            rest = (await reader.rest())[:-1]
        async with stream(stack.client, path, after=event.position) as reader:
            assert (await reader.rest())[:-1] == rest
        assert rest == events[index + 1 :]


async def test_all_events_come_once_and_in_order_over_the_seam(stack: Stack) -> None:
    workflow_id = await stack.workflow()
    head = await stack.log.head()
    writing = asyncio.create_task(start_many(stack, workflow_id, 120))
    async with stream(stack.client, "/v1/events", after=0) as reader:
        events = await reader.take(head + 240)
    await writing
    assert [event.position for event in events] == list(range(1, head + 241))


async def start_many(stack: Stack, workflow_id: str, count: int) -> None:
    for _ in range(count):
        body = {"workflow_id": workflow_id, "inputs": {"industry": "solar"}}
        assert (await stack.client.post("/v1/executions", json=body)).status_code == 201


async def test_all_events_begin_with_now_when_nothing_is_said(stack: Stack) -> None:
    async with stream(stack.client, "/v1/events") as reader:
        head = await stack.log.head()
        await stack.workflow()
        assert (await reader.take(1))[0].position == head + 1


async def test_a_position_that_the_log_does_not_have_is_gone(stack: Stack) -> None:
    started = await stack.execution()
    for path in ("/v1/events", f"/v1/executions/{started['id']}/stream"):
        answer = await stack.client.get(path, params={"after": 10**9})
        assert (answer.status_code, answer.json()["code"]) == (410, "position_gone")
        answer = await stack.client.get(path, headers={"Last-Event-ID": "x"})
        assert (answer.status_code, answer.json()["code"]) == (400, "malformed")


async def test_a_slow_client_gets_everything_all_the_same(
    stack: Stack, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("application.live_events.BUFFERED_EVENTS", 3)
    workflow_id = await stack.workflow()
    head = await stack.log.head()
    async with stream(stack.client, "/v1/events", after=head) as reader:
        await start_many(stack, workflow_id, 40)
        positions = [event.position for event in await reader.take(80)]
    assert positions == list(range(head + 1, head + 81))


async def test_many_clients_watch_their_own_executions(stack: Stack) -> None:
    workflow_id = await stack.workflow()
    started = [(await stack.execution(workflow_id))["id"] for _ in range(30)]

    async def watch(execution_id: str) -> list[str]:
        async with stream(stack.client, f"/v1/executions/{execution_id}/stream") as reader:
            return [event.data["subject"] for event in (await reader.rest())[:-1]]

    watching = [asyncio.create_task(watch(execution_id)) for execution_id in started]
    for execution_id in started:
        await cancel(stack, execution_id)
    assert await asyncio.gather(*watching) == [[execution_id] * 3 for execution_id in started]


async def test_nobody_follows_the_feed_when_nobody_watches(own_stack: Stack) -> None:
    live = own_stack.app.state["live"]
    async with stream(own_stack.client, "/v1/events"):
        await eventually(lambda: live.is_following)
    await eventually(lambda: not live.is_following)


async def test_tokens_come_along_when_asked_for(stack: Stack) -> None:
    started = await stack.execution()
    async with stream(stack.client, f"/v1/executions/{started['id']}/stream", tokens="true") as reader:
        await reader.take(2)
        await eventually(lambda: stack.tokens.listeners(started["id"]))
        stack.tokens.say(started["id"], json.dumps({"call": "c1", "text": "Hello\nworld"}).encode())
        token = (await reader.take(1))[0]
        await cancel(stack, started["id"])
        rest = await reader.rest()
    assert (token.name, token.id, token.data["text"]) == ("token", "", "Hello\nworld")
    assert [event.name for event in rest] == ["io.kasal.execution.cancelled", "end"]
    await eventually(lambda: not stack.tokens.listeners(started["id"]))


async def test_streams_end_when_the_process_does_and_say_nothing_of_an_end(own_stack: Stack) -> None:
    started = await own_stack.execution()
    async with stream(own_stack.client, f"/v1/executions/{started['id']}/stream") as reader:
        await reader.take(2)
        await own_stack.app.state["live"].close()
        assert await reader.rest() == []


async def test_without_a_relay_the_log_serves_the_streams(own_stack: Stack) -> None:
    started = await own_stack.execution()
    await own_stack.stop("relay")
    async with stream(own_stack.client, f"/v1/executions/{started['id']}/stream") as reader:
        await reader.take(2)
        await cancel(own_stack, started["id"])
        assert [event.name for event in await reader.rest()] == ["io.kasal.execution.cancelled", "end"]


async def test_a_hole_in_the_feed_is_filled_from_the_log(tmp_path: Path) -> None:
    feed = HoledFeed()
    async with running(tmp_path, feed) as stack:
        workflow_id = await stack.workflow()
        head = await stack.log.head()
        async with stream(stack.client, "/v1/events", after=head) as reader:
            await start_many(stack, workflow_id, 20)
            positions = [event.position for event in await reader.take(40)]
    assert positions == list(range(head + 1, head + 41))


class HoledFeed(MemoryFeed):
    """A feed whose followers miss every third event."""

    async def follow(self, after_position, *, tags=()):  # type: ignore[no-untyped-def]
        async for batch in super().follow(after_position, tags=tags):
            yield [recorded for recorded in batch if recorded.position % 3]


@pytest.fixture
async def nats_feed(own_nats_server: NatsServer):  # type: ignore[no-untyped-def]
    connection = await connect(own_nats_server.url, "test")
    yield JetStreamFeed(connection)
    await connection.close()


async def test_streams_outlive_nats(
    tmp_path: Path, nats_feed: EventFeed, own_nats_server: NatsServer
) -> None:
    async with running(tmp_path, nats_feed) as stack:
        workflow_id = await stack.workflow()
        head = await stack.log.head()
        async with stream(stack.client, "/v1/events", after=head) as reader:
            await start_many(stack, workflow_id, 5)
            before = await reader.take(10)
            await crash(own_nats_server)
            await start_many(stack, workflow_id, 5)
            during = await reader.take(10)
            await own_nats_server.start_again()
            await start_many(stack, workflow_id, 5)
            after = await reader.take(10)
    positions = [event.position for event in (*before, *during, *after)]
    assert positions == list(range(head + 1, head + 31))


async def test_an_idle_stream_says_that_it_is_alive(stack: Stack, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("interfaces.http.streaming.HEARTBEAT_S", 0.05)
    started = await stack.execution()
    async with stream(stack.client, f"/v1/executions/{started['id']}/stream") as reader:
        await reader.take(2)
        reading = asyncio.create_task(reader.next())
        await eventually(lambda: has_heard(reader, 3))
        await cancel(stack, started["id"])
        assert (await reading) is not None


def has_heard(reader: Reader, comments: int) -> bool:
    return reader.comments >= comments
