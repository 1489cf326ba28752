"""Webhooks and streams of a real `kasal up`, also when it is killed while it delivers."""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.interfaces.endpoint import Endpoint, listening
from tests.processes.stack import BLOG, Up, clean_environment
from tests.waiting import eventually

EXECUTIONS = 3


@pytest.fixture
async def endpoint() -> AsyncIterator[Endpoint]:
    async with listening() as endpoint:
        yield endpoint


async def up(folder: Path, runners: int = 1) -> Up:
    return await asyncio.to_thread(Up, folder, "--runners", str(runners), KASAL_WEBHOOK_ALLOW="127.0.0.1")


async def post(client: httpx.AsyncClient, path: str, body: object) -> dict[str, Any]:
    answer = await client.post(path, json=body)
    assert answer.status_code == 201, answer.text
    made: dict[str, Any] = answer.json()
    return made


async def test_a_killed_delivery_goes_on_and_leaves_nothing_out(tmp_path: Path, endpoint: Endpoint) -> None:
    first = await up(tmp_path / "d")
    async with httpx.AsyncClient(base_url=first.url, timeout=30) as client:
        wish = {"url": endpoint.url, "wanted": {"types": ["execution.*"]}}
        secret = (await post(client, "/v1/subscriptions", wish))["secret"]
        ids = [(await post(client, "/v1/executions", BLOG))["id"] for _ in range(EXECUTIONS)]
        await eventually(lambda: len(endpoint.received) >= 15, 60)
    await asyncio.to_thread(first.kill)
    second = await up(tmp_path / "d")
    try:
        await eventually(lambda: len(ended(endpoint)) == EXECUTIONS, 90)
    finally:
        await asyncio.to_thread(second.end)
    for each in endpoint.received:
        each.verify(secret)
    for execution_id in ids:
        assert versions(endpoint, execution_id) == list(range(1, len(versions(endpoint, execution_id)) + 1))


async def test_the_command_line_follows_events(tmp_path: Path) -> None:
    running = await up(tmp_path / "d", runners=0)
    command = (sys.executable, "-m", "interfaces.cli", "events", "follow", "--after", "0", "--count", "3")
    try:
        process = await asyncio.create_subprocess_exec(
            *(*command, "--type", "workflow.created"),
            stdout=asyncio.subprocess.PIPE,
            env=clean_environment(KASAL_DATA_DIR=str(tmp_path / "d")),
        )
        output, _ = await asyncio.wait_for(process.communicate(), 60)
    finally:
        await asyncio.to_thread(running.end)
    found = [json.loads(line) for line in output.splitlines()]
    assert [event["type"] for event in found] == ["io.kasal.workflow.created"] * 3


def ended(endpoint: Endpoint) -> set[str]:
    return {each.event["subject"] for each in endpoint.received if each.name == "execution.completed"}


def versions(endpoint: Endpoint, execution_id: str) -> list[int]:
    """Of an execution's events, in the order in which each came first."""
    found = [
        each.event["kasalversion"] for each in endpoint.received if each.event["subject"] == execution_id
    ]
    return list(dict.fromkeys(found))
