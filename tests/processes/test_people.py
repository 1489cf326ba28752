"""People and large texts through real processes: asked, killed meanwhile, answered, gone on with."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.processes.stack import Up, get, post, wait_for_end

LONG = "Think of tea and of what goes with it. " * 400
WRITER = {"role": "Writer", "goal": "Write about tea", "backstory": "Plain words", "model": "demo/small"}
DEFINITION = {
    "name": "Letter",
    "agents": {"writer": WRITER},
    "tasks": {
        "draft": {"agent": "writer", "description": LONG, "expected_output": "a letter", "human_input": True},
        "final": {"agent": "writer", "description": "Write it out", "expected_output": "a letter"},
    },
}


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[list[Up]]:
    """The stacks of a test; whatever still runs is killed afterwards."""
    started: list[Up] = []
    yield started
    for up in started:
        up.end()


def calls(client: httpx.Client, execution: dict[str, Any], kind: str) -> list[dict[str, Any]]:
    page = get(client, f"/v1/executions/{execution['id']}/history?limit=200&after={execution['position']}")
    return [item["data"] for item in page["items"] if item["type"] == f"execution.model_call_{kind}"]


def test_an_output_waits_for_a_person_while_everything_is_killed(tmp_path: Path, folder: list[Up]) -> None:
    folder.append(first := Up(tmp_path / "d"))
    started = post(first.client, "/v1/executions", {"definition": DEFINITION})
    waiting = wait_for_end(first.client, started["id"])
    (wait,) = waiting["waits"]
    assert (waiting["status"], wait["kind"], wait["id"]) == ("WAITING", "human_input", "draft:review:1")
    first.kill()
    folder.append(second := Up(tmp_path / "d"))
    path = f"/v1/executions/{started['id']}/reviews/{wait['id']}"
    post(second.client, path, {"approved": False, "feedback": "With more sugar"}, Prefer="wait=10")
    waiting = wait_for_end(second.client, started["id"])
    (wait,) = waiting["waits"]
    assert wait["id"] == "draft:review:2"
    path = f"/v1/executions/{started['id']}/reviews/{wait['id']}"
    post(second.client, path, {"approved": True}, Prefer="wait=10")
    ended = wait_for_end(second.client, started["id"])
    assert ended["status"] == "COMPLETED"
    assert len(calls(second.client, ended, "started")) == len(calls(second.client, ended, "completed")) == 3
    asked = calls(second.client, ended, "started")[1]["request"]
    assert asked["is_stored"]
    whole = second.client.get(f"/v1/contents/{asked['digest']}")
    assert len(whole.content) == asked["size_bytes"]
    assert "With more sugar" in json.dumps(whole.json())
