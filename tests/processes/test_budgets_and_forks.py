"""A budget and a fork with every process real: what the model is asked is counted where it is asked."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.model_server import ModelServer, Turn, model_server
from tests.processes.stack import Up, get, post, wait_for_end

MODEL = "openai/scripted"
WRITER = {"role": "Writer", "goal": "Write", "backstory": "Plain words", "model": MODEL}
DOCUMENT: dict[str, Any] = {
    "name": "Three calls",
    "agents": {"writer": WRITER},
    "tasks": {
        name: {"agent": "writer", "description": f"Write part {name}", "expected_output": "a text"}
        for name in ("one", "two", "three")
    },
    "limits": {"max_model_calls": 2},
}


@pytest.fixture
def model() -> Iterator[ModelServer]:
    with model_server(lambda request: Turn(text=f"Final Answer: {request['model']}")) as server:
        yield server


def waits(up: Up, execution_id: str, timeout_s: float = 90) -> dict[str, Any]:
    """The execution, once it waits."""
    deadline = time.monotonic() + timeout_s
    while time.monotonic() < deadline:
        response = up.client.get(f"/v1/executions/{execution_id}")
        if response.status_code == 200 and response.json()["status"] == "WAITING":
            execution: dict[str, Any] = response.json()
            return execution
        time.sleep(0.05)
    raise AssertionError(f"execution {execution_id} did not wait: {response.text}")


def test_a_refused_call_is_never_sent_and_a_fork_pays_for_nothing_twice(
    tmp_path: Path, model: ModelServer
) -> None:
    up = Up(tmp_path / "d", OPENAI_API_BASE=model.url, OPENAI_API_KEY="local")
    try:
        execution_id = post(up.client, "/v1/executions", {"definition": DOCUMENT})["id"]
        assert waits(up, execution_id)["model_calls"] == 2
        assert len(model.requests) == 2
        post(up.client, f"/v1/executions/{execution_id}/budget", {"max_model_calls": 3})
        assert wait_for_end(up.client, execution_id)["status"] == "COMPLETED"
        assert len(model.requests) == 3
        overrides = {"tasks": {"three": {"description": "Write part three, shorter"}}}
        path = f"/v1/executions/{execution_id}/fork"
        fork = wait_for_end(up.client, post(up.client, path, {"overrides": overrides})["id"])
        assert (fork["status"], fork["model_calls"], fork["reused_calls"]) == ("COMPLETED", 1, 2)
        assert len(model.requests) == 4
        assert "shorter" in str(model.requests[-1]["messages"])
        assert get(up.client, f"/v1/executions?forked_from={execution_id}")["items"][0]["id"] == fork["id"]
    finally:
        up.end()
