"""WebSockets: the same events as SSE, as CloudEvents; who may open one; how each is closed."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import suppress
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from cloudevents.core.bindings.http import HTTPMessage, from_structured_event
from cloudevents.core.formats.json import JSONFormat
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.typing import Subprotocol

from infrastructure.nats.memory import MemoryFeed
from interfaces.processes.serving import MAX_MESSAGE_BYTES
from tests.interfaces.stack import Stack, running
from tests.waiting import eventually

TIMEOUT_S = 40
TOKEN = "a-token-of-sixteen-letters"


UPGRADE = b"""GET /v1/events/ws HTTP/1.1\r
Host: localhost\r
Connection: Upgrade\r
Upgrade: websocket\r
Sec-WebSocket-Version: 13\r
Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r
\r
"""


def url(stack: Stack, path: str) -> str:
    return stack.url.replace("http", "ws", 1) + path


async def take(socket: ClientConnection, count: int) -> list[dict[str, Any]]:
    async with asyncio.timeout(TIMEOUT_S):
        return [json.loads(await socket.recv()) for _ in range(count)]


async def rest(socket: ClientConnection) -> tuple[list[dict[str, Any]], int, str]:
    """What still comes, and the code and reason of the close."""
    events = []
    with suppress(ConnectionClosed):
        while True:
            events += await take(socket, 1)
    return events, socket.close_code or 0, socket.close_reason or ""


def position(event: dict[str, Any]) -> int:
    return int(event["sequence"])


@pytest.fixture
async def guarded(tmp_path: Path) -> AsyncIterator[Stack]:
    """A stack that asks for a token."""
    async with running(tmp_path, MemoryFeed(), api_token=TOKEN) as stack:
        stack.client.headers["Authorization"] = f"Bearer {TOKEN}"
        yield stack


async def test_an_execution_comes_with_its_history_and_closes_with_it(stack: Stack) -> None:
    started = await stack.execution()
    path = url(stack, f"/v1/executions/{started['id']}/ws")
    async with connect(path, subprotocols=[Subprotocol("cloudevents.json")]) as socket:
        assert socket.subprotocol == "cloudevents.json"
        history = await take(socket, 2)
        answer = await stack.client.post(f"/v1/executions/{started['id']}/cancel")
        events, code, reason = await rest(socket)
    ended_at = answer.json()["position"]
    types = [event["type"].removeprefix("io.kasal.execution.") for event in (*history, *events)]
    assert types == ["requested", "step_scheduled", "cancelled"]
    assert (code, reason) == (1000, f"after={ended_at}")
    async with connect(f"{path}?after={ended_at}") as socket:
        assert (await rest(socket))[1] == 1000


async def test_all_events_go_on_after_a_position_and_can_be_filtered(stack: Stack) -> None:
    head = await stack.log.head()
    workflow_id = await stack.workflow()
    async with connect(url(stack, f"/v1/events/ws?after={head}&type=workflow.*")) as socket:
        await stack.execution(workflow_id)
        await stack.client.post(f"/v1/workflows/{workflow_id}/archive")
        events = await take(socket, 2)
    assert [(event["type"], event["subject"]) for event in events] == [
        ("io.kasal.workflow.created", workflow_id),
        ("io.kasal.workflow.archived", workflow_id),
    ]
    async with connect(url(stack, f"/v1/events/ws?after={position(events[0])}")) as socket:
        assert position((await take(socket, 1))[0]) == position(events[0]) + 1


async def test_every_message_is_a_cloudevent_to_the_cloudevents_sdk(stack: Stack) -> None:
    head = await stack.log.head()
    await stack.execution()
    async with connect(url(stack, f"/v1/events/ws?after={head}")) as socket:
        for _ in range(3):
            body = str(await socket.recv()).encode()
            headers = {"content-type": "application/cloudevents+json"}
            event = from_structured_event(HTTPMessage(headers, body), JSONFormat())
            assert event.get_specversion() == "1.0"
            assert event.get_type().startswith("io.kasal.")
            assert event.get_extension("sequence").isdecimal()


async def test_tokens_and_places_are_cloudevents_too(stack: Stack, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("interfaces.http.streaming.HEARTBEAT_S", 0.05)
    started = await stack.execution()
    path = f"/v1/executions/{started['id']}/ws?tokens=true&type=execution.cancelled"
    async with connect(url(stack, path)) as socket:
        (place,) = await take(socket, 1)
        await eventually(lambda: stack.tokens.listeners(started["id"]))
        stack.tokens.say(started["id"], b'{"call": "c1", "text": "Hello"}')
        (token,) = await take(socket, 1)
    assert (place["type"], place["data"]) == (
        "io.kasal.stream.position",
        {"position": started["position"]},
    )
    assert (token["type"], token["data"]["text"]) == ("io.kasal.stream.token", "Hello")
    assert token["id"] != place["id"]


@pytest.mark.parametrize(
    ("path", "status", "code"),
    [
        ("/v1/events/ws?after=x", 400, "malformed"),
        ("/v1/events/ws?type=nothing", 400, "malformed"),
        ("/v1/events/ws?after=1000000000", 410, "position_gone"),
        ("/v1/executions/none/ws", 404, "not_found"),
    ],
)
async def test_a_wrong_wish_is_a_problem_before_the_socket_opens(
    stack: Stack, path: str, status: int, code: str
) -> None:
    with pytest.raises(InvalidStatus) as refused:
        await connect(url(stack, path))
    assert refused.value.response.status_code == status
    assert json.loads(refused.value.response.body or b"")["code"] == code


async def test_a_page_of_another_site_gets_no_socket(stack: Stack, guarded: Stack) -> None:
    for place in (stack, guarded):
        with pytest.raises(InvalidStatus) as refused:
            await connect(url(place, "/v1/events/ws"), origin="http://evil.example")  # type: ignore[arg-type]
        assert refused.value.response.status_code == 403


async def test_a_subprotocol_that_we_do_not_speak_is_refused(stack: Stack) -> None:
    with pytest.raises(InvalidStatus) as refused:
        await connect(url(stack, "/v1/events/ws"), subprotocols=[Subprotocol("cloudevents.avro")])
    assert refused.value.response.status_code == 400


async def test_the_token_comes_in_the_header_or_in_the_first_message(guarded: Stack) -> None:
    head = await guarded.log.head()
    path = url(guarded, f"/v1/events/ws?after={head - 1}")
    headers = {"Authorization": f"Bearer {TOKEN}"}
    async with connect(path, additional_headers=headers) as socket:
        assert position((await take(socket, 1))[0]) == head
    async with connect(path) as socket:
        await socket.send(json.dumps({"token": TOKEN}))
        assert position((await take(socket, 1))[0]) == head


async def test_a_wrong_token_opens_nothing(guarded: Stack) -> None:
    path = url(guarded, "/v1/executions/none/ws")
    with pytest.raises(InvalidStatus) as refused:
        await connect(path, additional_headers={"Authorization": "Bearer wrong"})
    assert refused.value.response.status_code == 401
    nested, not_utf8 = '{"more": ' + "[" * 15_000, b'{"token": "\xff"}'
    for first in ('{"token": "wrong"}', "{}", "no JSON", '{"token": "x", "more": 1}', nested, not_utf8):
        async with connect(path) as socket:
            await socket.send(first)
            events, code, reason = await rest(socket)
            assert (events, code) == ([], 1008)
            assert reason.startswith("unauthenticated")
    async with connect(path) as socket:
        await socket.send("x" * (MAX_MESSAGE_BYTES + 1))
        assert (await rest(socket))[:2] == ([], 1009)


async def test_a_client_that_says_nothing_is_not_waited_for(
    guarded: Stack, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("interfaces.http.sockets.TOKEN_WAIT_S", 0.05)
    async with connect(url(guarded, "/v1/events/ws")) as socket:
        assert (await rest(socket))[1] == 1008


async def test_a_process_that_ends_says_where_to_go_on(own_stack: Stack) -> None:
    started = await own_stack.execution()
    async with connect(url(own_stack, f"/v1/executions/{started['id']}/ws")) as socket:
        await take(socket, 2)
        await own_stack.app.state["live"].close()
        assert await rest(socket) == ([], 1012, f"after={started['position']}")


async def test_a_client_that_takes_nothing_is_cut(own_stack: Stack, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("interfaces.http.streaming.STALLED_S", 0.3)
    live = own_stack.app.state["live"]
    workflow_id = await own_stack.workflow()
    reader, writer = await asyncio.open_connection("127.0.0.1", urlsplit(own_stack.url).port)
    writer.write(UPGRADE)
    assert (await reader.readline()).startswith(b"HTTP/1.1 101")
    await eventually(lambda: live.is_following)
    async with asyncio.timeout(60):
        while live.is_following:
            await own_stack.execution(workflow_id, inputs={"industry": "x" * 100_000})
    async with asyncio.timeout(TIMEOUT_S):
        while await reader.read(1_000_000):
            pass
    writer.close()
