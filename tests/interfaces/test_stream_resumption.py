"""Clients that are cut at random places and come back see every event once; relay and NATS are killed."""

from __future__ import annotations

import asyncio
import json
import random
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from websockets.asyncio.client import connect as connect_socket

from application.relay import relay
from infrastructure.nats.connection import connect
from infrastructure.nats.feed import JetStreamFeed
from infrastructure.nats.server import NatsServer
from tests.interfaces.sse import stream
from tests.interfaces.stack import Stack, running
from tests.nats_servers import crash

EXECUTIONS = 60
DEADLINE_S = 60


@pytest.fixture
async def stack(tmp_path: Path, own_nats_server: NatsServer) -> AsyncIterator[Stack]:
    connection = await connect(own_nats_server.url, "test")
    async with running(tmp_path, JetStreamFeed(connection)) as stack:
        yield stack
    await connection.close()


async def over_sse(stack: Stack, after: int, end: int, chance: random.Random) -> list[int]:
    """Positions as a client collects them that leaves after a few events, again and again."""
    seen: list[int] = []
    while after < end:
        async with stream(stack.client, "/v1/events", last_event_id=after) as reader:
            for event in await reader.take(min(chance.randint(1, 20), end - after)):
                seen.append(event.position)
                after = event.position
    return seen


async def over_websocket(stack: Stack, after: int, end: int, chance: random.Random) -> list[int]:
    seen: list[int] = []
    while after < end:
        url = stack.url.replace("http", "ws", 1) + f"/v1/events/ws?after={after}"
        async with connect_socket(url) as socket:
            for _ in range(min(chance.randint(1, 20), end - after)):
                after = int(json.loads(await socket.recv())["sequence"])
                seen.append(after)
            socket.transport.abort()
    return seen


async def write(stack: Stack, workflow_id: str, pauses: random.Random) -> None:
    for _ in range(EXECUTIONS):
        body = {"workflow_id": workflow_id, "inputs": {"industry": "solar"}}
        assert (await stack.client.post("/v1/executions", json=body)).status_code == 201
        await asyncio.sleep(pauses.uniform(0, 0.05))


async def hurt(stack: Stack, server: NatsServer, writing: asyncio.Task[None], chance: random.Random) -> None:
    """Kill NATS and the relay in turn for as long as something is written; both are back in the end."""
    while not writing.done():
        await asyncio.sleep(chance.uniform(0.1, 0.4))
        await crash(server)
        await asyncio.sleep(chance.uniform(0, 0.3))
        await server.start_again()
        await stack.stop("relay")
        await asyncio.sleep(chance.uniform(0, 0.3))
        stack.loops["relay"] = asyncio.create_task(relay(stack.log, stack.feed))


@pytest.mark.parametrize("seed", [1, 2])
async def test_clients_cut_at_random_places_see_every_event_once(
    stack: Stack, own_nats_server: NatsServer, seed: int
) -> None:
    workflow_id = await stack.workflow()
    head = await stack.log.head()
    end = head + 2 * EXECUTIONS
    chance = random.Random(seed)  # noqa: S311 - a game of chance that can be played again
    writing = asyncio.create_task(write(stack, workflow_id, chance))
    hurting = asyncio.create_task(hurt(stack, own_nats_server, writing, chance))
    async with asyncio.timeout(DEADLINE_S):
        clients = [over_sse(stack, head, end, chance) for _ in range(3)]
        clients += [over_websocket(stack, head, end, chance) for _ in range(3)]
        seen = await asyncio.gather(*clients)
        await writing
        await hurting
    assert seen == [list(range(head + 1, end + 1))] * 6
