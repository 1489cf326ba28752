"""Servers that go away under running processes: nothing acknowledged is lost, nothing is half done."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from infrastructure.nats.connection import connect
from infrastructure.nats.server import NatsServer
from tests.nats_servers import crash, stream_contents
from tests.processes.stack import BLOG, Process, Up, clean_environment, get, post, wait_for_end
from tests.servers import PostgresServer
from tests.waiting import eventually


@pytest.fixture
def ended() -> Iterator[list[Process]]:
    """Processes of a test; whatever still runs is killed afterwards."""
    started: list[Process] = []
    yield started
    for process in started:
        process.end()


async def test_without_nats_commands_are_accepted_and_catch_up(
    tmp_path: Path, own_nats_server: NatsServer, ended: list[Process]
) -> None:
    ended.append(up := Up(tmp_path / "d", KASAL_NATS_URL=own_nats_server.url))
    await crash(own_nats_server)
    started = [post(up.client, "/v1/executions", BLOG)["id"] for _ in range(3)]
    assert up.client.get("/readyz").status_code == 200
    await own_nats_server.start_again()
    for execution_id in started:
        assert wait_for_end(up.client, execution_id)["status"] == "COMPLETED"


async def test_an_api_starts_without_nats(tmp_path: Path, ended: list[Process]) -> None:
    settings = {
        "KASAL_DATA_DIR": str(tmp_path),
        "KASAL_NATS_URL": "nats://nobody@127.0.0.1:1",
        "KASAL_PORT": "0",
    }
    ended.append(init := Process(tmp_path / "init.log", "seed", "--migrate", **settings))
    assert init.popen.wait(60) == 0, init.words
    ended.append(api := Process(tmp_path / "api.log", "api", **settings))
    await eventually(lambda: '"url"' in api.words, 90)
    url = api.words.split('"url": "')[1].split('"')[0]
    with httpx.Client(base_url=url, timeout=30) as client:
        assert post(client, "/v1/executions", BLOG)["status"] == "PENDING"


async def test_a_jetstream_store_that_is_lost_is_made_again(
    tmp_path: Path, own_nats_server: NatsServer, ended: list[Process]
) -> None:
    ended.append(up := Up(tmp_path / "d", KASAL_NATS_URL=own_nats_server.url))
    first = post(up.client, "/v1/executions", BLOG)["id"]
    wait_for_end(up.client, first)
    await crash(own_nats_server)
    for path in sorted((tmp_path / "nats" / "jetstream").rglob("*"), reverse=True):
        path.rmdir() if path.is_dir() else path.unlink()
    second = post(up.client, "/v1/executions", BLOG)["id"]
    await own_nats_server.start_again()
    execution = wait_for_end(up.client, second)
    assert execution["status"] == "COMPLETED"
    connection = await connect(own_nats_server.url, "test")
    contents = await stream_contents(connection)
    await connection.close()
    assert [(sequence, recorded.position) for sequence, recorded in contents] == [
        (number, number) for number in range(1, len(contents) + 1)
    ]
    assert len(contents) >= execution["position"]


async def test_without_postgresql_the_answer_is_503_and_afterwards_all_goes_on(
    tmp_path: Path, ended: list[Process]
) -> None:
    server = PostgresServer()
    try:
        ended.append(up := Up(tmp_path / "d", KASAL_LOG_URL=server.url, KASAL_READ_URL=server.url))
        wait_for_end(up.client, post(up.client, "/v1/executions", BLOG)["id"])
        server.stop("immediate")
        refused = up.client.post("/v1/executions", json=BLOG)
        assert (refused.status_code, refused.headers["content-type"]) == (503, "application/problem+json")
        assert int(refused.headers["retry-after"]) >= 1
        assert up.client.get("/v1/executions").status_code == 503
        assert up.client.get("/readyz").status_code == 503
        server.start()
        await eventually(lambda: up.client.get("/readyz").status_code == 200, 90)
        assert wait_for_end(up.client, post(up.client, "/v1/executions", BLOG)["id"])["status"] == "COMPLETED"
        assert up.popen.poll() is None
    finally:
        for process in ended:
            process.end()
        server.remove()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL])
def test_whenever_it_is_stopped_no_acknowledged_command_is_lost(
    tmp_path: Path, ended: list[Process], number: int
) -> None:
    ended.append(first := Up(tmp_path / "d", "--runners", "0"))
    acknowledged: list[dict[str, Any]] = []
    hands = [threading.Thread(target=start_until_refused, args=(first.url, acknowledged)) for _ in range(8)]
    for hand in hands:
        hand.start()
    while len(acknowledged) < 200:
        time.sleep(0.005)
    os.kill(first.popen.pid, number)
    for hand in hands:
        hand.join()
    first.popen.wait(40)
    ended.append(second := Up(tmp_path / "d", "--runners", "0"))
    newest = max(answer["position"] for answer in acknowledged)
    for answer in acknowledged:
        execution = get(second.client, f"/v1/executions/{answer['id']}?after={newest}")
        assert execution["version"] == answer["version"]


def start_until_refused(url: str, acknowledged: list[dict[str, Any]]) -> None:
    """Starts one execution after the other until the server is gone; keeps what was acknowledged."""
    with httpx.Client(base_url=url, timeout=30) as client:
        while True:
            try:
                response = client.post("/v1/executions", json=BLOG)
            except httpx.TransportError:
                return
            if response.status_code == 201:
                acknowledged.append(response.json())


def test_the_environment_of_a_developer_does_not_leak_in() -> None:
    assert [name for name in clean_environment() if name.startswith("KASAL_")] == ["KASAL_DEMO_DELAY_S"]
