"""`kasal runner`: a warm parent and the processes that it forks; a crash costs its own step at most."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.processes.stack import BLOG, Up, get, post, wait_for_end
from tests.waiting import eventually

SLOW = {"KASAL_LEASE_S": "600", "KASAL_DEMO_DELAY_S": "0.08"}
"""Whoever waited for the end of a lease would miss every deadline here. A crew takes some seconds."""

ISOLATED: dict[str, Any] = {
    "definition": {
        "name": "Isolated",
        "isolation": "process",
        "agents": {"writer": {"role": "Writer", "goal": "Write", "backstory": "Writes"}},
        "tasks": {
            name: {"agent": "writer", "description": f"Write {name}", "expected_output": "a text"}
            for name in ("one", "two")
        },
    }
}


@pytest.fixture(scope="module")
def up(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Up]:
    """One stack with one process that works, for all tests here: its parent takes long to load CrewAI."""
    stack = Up(tmp_path_factory.mktemp("runners"), **SLOW)
    yield stack
    stack.end()


def children_of(pid: int) -> set[int]:
    path = Path(f"/proc/{pid}/task/{pid}/children")
    return {int(child) for child in path.read_text(encoding="utf-8").split()}


def runner_of(up: Up) -> int:
    """The warm parent: the child of `kasal up` that is no nats-server; 0 while there is none."""
    for pid in children_of(up.popen.pid):
        if b"interfaces.cli" in Path(f"/proc/{pid}/cmdline").read_bytes():
            return pid
    return 0


def events_of(up: Up, execution_id: str) -> list[dict[str, Any]]:
    items: list[dict[str, Any]] = get(up.client, f"/v1/executions/{execution_id}/history?limit=200")["items"]
    return items


def attempts_of(up: Up, execution_id: str) -> list[int]:
    events = events_of(up, execution_id)
    return [event["data"]["attempt"] for event in events if event["type"] == "execution.step_started"]


def has_begun(up: Up, execution_id: str, what: str = "model_call_started") -> bool:
    return what in up.client.get(f"/v1/executions/{execution_id}/history?limit=200").text


async def test_what_a_killed_process_held_is_taken_at_once(up: Up) -> None:
    execution_id = post(up.client, "/v1/executions", BLOG)["id"]
    await eventually(lambda: has_begun(up, execution_id), 60)
    parent = runner_of(up)
    (child,) = children_of(parent)
    os.kill(child, signal.SIGKILL)
    await eventually(lambda: children_of(parent) - {child}, 60)
    assert wait_for_end(up.client, execution_id)["status"] == "COMPLETED"
    assert attempts_of(up, execution_id) == [1, 2]
    assert runner_of(up) == parent


async def test_the_crash_of_an_isolated_step_touches_no_other(up: Up) -> None:
    isolated = post(up.client, "/v1/executions", ISOLATED)["id"]
    await eventually(lambda: has_begun(up, isolated), 60)
    parent, other = runner_of(up), post(up.client, "/v1/executions", BLOG)["id"]
    await eventually(lambda: has_begun(up, other), 60)
    _, alone = sorted(children_of(parent))
    os.kill(alone, signal.SIGKILL)
    for execution_id, attempts in ((isolated, [1, 2]), (other, [1])):
        assert wait_for_end(up.client, execution_id)["status"] == "COMPLETED"
        assert attempts_of(up, execution_id) == attempts
    calls = [e["data"]["call"] for e in events_of(up, isolated) if e["type"].endswith("call_completed")]
    assert len(calls) == len(set(calls)) == 2
    await eventually(lambda: len(children_of(parent)) == 1, 60)


async def test_an_isolated_step_ends_with_its_execution(up: Up) -> None:
    execution_id = post(up.client, "/v1/executions", ISOLATED)["id"]
    await eventually(lambda: has_begun(up, execution_id), 60)
    parent = runner_of(up)
    assert len(children_of(parent)) == 2
    post(up.client, f"/v1/executions/{execution_id}/cancel")
    await eventually(lambda: len(children_of(parent)) == 1, 60)


async def test_no_process_outlives_the_parent_and_nobody_waits_for_its_leases(up: Up) -> None:
    execution_id = post(up.client, "/v1/executions", ISOLATED)["id"]
    await eventually(lambda: has_begun(up, execution_id), 60)
    parent = runner_of(up)
    children = children_of(parent)
    assert len(children) == 2
    os.kill(parent, signal.SIGKILL)
    await eventually(lambda: not any(Path(f"/proc/{child}").exists() for child in children), 60)
    await eventually(lambda: runner_of(up) not in (0, parent), 60)
    assert wait_for_end(up.client, execution_id)["status"] == "COMPLETED"
    assert attempts_of(up, execution_id) == [1, 2]
    assert len(list((up.data_dir / "runner" / "homes").iterdir())) == 1
