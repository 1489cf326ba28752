"""The API on PostgreSQL and JetStream: the same as on SQLite, and what happens while the database is away."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from infrastructure.nats.connection import connect
from infrastructure.nats.feed import JetStreamFeed
from infrastructure.nats.memory import MemoryFeed
from infrastructure.nats.server import NatsServer
from interfaces.http.examples import BLOG
from tests.interfaces.sse import stream
from tests.interfaces.stack import Stack, running
from tests.interfaces.test_http_children import dispatched
from tests.servers import PostgresServer


@pytest.fixture
async def on_postgres(tmp_path: Path, postgres_url: str, own_nats_server: NatsServer) -> AsyncIterator[Stack]:
    connection = await connect(own_nats_server.url, "test")
    async with running(tmp_path, JetStreamFeed(connection), database=postgres_url) as stack:
        yield stack
    await connection.close()


async def test_an_execution_is_started_listed_streamed_and_cancelled(on_postgres: Stack) -> None:
    workflow_id = await on_postgres.workflow(name="Ünïcode 🙂")
    started = [await on_postgres.execution(workflow_id) for _ in range(3)]
    page = await on_postgres.client.get("/v1/executions", params={"limit": 2})
    rest = await on_postgres.client.get(page.links["next"]["url"])
    listed = [item["id"] for item in page.json()["items"] + rest.json()["items"]]
    assert listed == [each["id"] for each in reversed(started)]
    async with stream(on_postgres.client, f"/v1/executions/{listed[0]}/stream") as reader:
        await reader.take(2)
        answer = await on_postgres.client.post(f"/v1/executions/{listed[0]}/cancel")
        ended = await reader.rest()
    assert [event.name for event in ended] == ["io.kasal.execution.cancelled", "end"]
    found = await on_postgres.client.get(
        f"/v1/executions/{listed[0]}", params={"after": answer.json()["position"]}
    )
    assert (found.json()["status"], found.headers["etag"]) == ("CANCELLED", '"v3"')


async def test_a_child_is_begun_found_and_reported(on_postgres: Stack) -> None:
    inner = await on_postgres.workflow()
    step = {"workflow_id": inner, "inputs": {"industry": "'tea'"}, "on_cancel": "continue"}
    outer = {"name": "Outer", "steps": {"sub": {"workflow": step}}}
    saved = (await on_postgres.client.post("/v1/workflows", json=outer)).json()
    parent = await on_postgres.execution(saved["id"], inputs={})
    await dispatched(on_postgres)
    params = {"parent": parent["id"], "after": await on_postgres.log.head()}
    [child] = (await on_postgres.client.get("/v1/executions", params=params)).json()["items"]
    await on_postgres.client.post(f"/v1/executions/{child['id']}/cancel")
    await dispatched(on_postgres)
    after = {"after": await on_postgres.log.head()}
    found = (await on_postgres.client.get(f"/v1/executions/{parent['id']}", params=after)).json()
    assert (found["status"], found["steps"][0]["child"]) == ("COMPLETED", child["id"])


async def test_a_key_has_one_effect(on_postgres: Stack) -> None:
    body = {"definition": BLOG, "inputs": {"industry": "solar"}}
    headers = {"Idempotency-Key": "once"}
    answers = [await on_postgres.client.post("/v1/executions", json=body, headers=headers) for _ in range(3)]
    assert len({answer.json()["id"] for answer in answers}) == 1


async def test_while_postgresql_is_away_everything_is_refused_with_503_and_comes_back(
    tmp_path: Path,
) -> None:
    server = PostgresServer()
    try:
        async with running(tmp_path, MemoryFeed(), database=server.url) as stack:
            workflow_id = await stack.workflow()
            head = await stack.log.head()
            server.stop()
            body = {"workflow_id": workflow_id, "inputs": {"industry": "solar"}}
            refused = await stack.client.post("/v1/executions", json=body)
            assert (refused.status_code, refused.json()["code"]) == (503, "log_unavailable")
            assert "retry-after" in refused.headers
            assert str(server.socket_folder) not in refused.text
            listed = await stack.client.get("/v1/executions")
            assert (listed.status_code, listed.json()["code"]) == (503, "unavailable")
            server.start()
            assert await stack.log.head() == head
            started = await stack.client.post("/v1/executions", json=body, headers={"Prefer": "wait=15"})
            assert started.status_code == 201
            found = await stack.client.get(started.headers["location"])
            assert found.status_code == 200
    finally:
        server.remove()
