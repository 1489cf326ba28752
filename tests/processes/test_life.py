"""Pauses, timers and their ends in real processes, over SIGKILL of everything."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.model_server import ModelServer, Turn, model_server
from tests.processes.stack import BLOG, Process, Up, get, post, wait_for_end


@pytest.fixture
def ended() -> Iterator[list[Process]]:
    """Processes of a test; whatever still runs is killed afterwards."""
    started: list[Process] = []
    yield started
    for process in started:
        process.end()


def wait_for(up: Up, execution_id: str, status: str, timeout_s: float = 100) -> dict[str, Any]:
    """The execution as soon as it has a status."""
    deadline = time.monotonic() + timeout_s
    while True:
        execution = get(up.client, f"/v1/executions/{execution_id}")
        if execution["status"] == status:
            return execution
        assert time.monotonic() < deadline, f"{execution['status']} instead of {status}"
        time.sleep(0.03)


def definition(**limits: int) -> dict[str, Any]:
    task = {"description": "Say {what}", "expected_output": "a word", "agent": "speaker"}
    return {
        "name": "Speak",
        "inputs": {"what": {"type": "string"}},
        "agents": {
            "speaker": {"role": "Speaker", "goal": "Speak", "backstory": "Plain", "model": "openai/scripted"}
        },
        "tasks": {"first": task, "second": {**task, "description": "Say more of {what}"}},
        "limits": limits,
    }


def start(up: Up, document: object) -> str:
    """An execution that the read models show."""
    body = {"definition": document, "inputs": {"what": "tea"}}
    return str(post(up.client, "/v1/executions", body, Prefer="wait=30")["id"])


def speak(up: Up, **limits: int) -> str:
    return start(up, definition(**limits))


def test_the_time_of_an_execution_ends_though_everything_was_killed_meanwhile(
    tmp_path: Path, ended: list[Process]
) -> None:
    ended.append(first := Up(tmp_path / "d", "--runners", "0"))
    limited, paused = speak(first, timeout_s=3), speak(first, timeout_s=3)
    free = str(post(first.client, "/v1/executions", BLOG, Prefer="wait=30")["id"])
    post(first.client, f"/v1/executions/{paused}/pause")
    first.kill()
    ended.append(second := Up(tmp_path / "d", "--runners", "0"))
    execution = wait_for(second, limited, "TIMED_OUT")
    assert "limit of 3 s" in execution["error"]
    assert get(second.client, f"/v1/executions/{free}")["status"] == "PENDING"
    assert get(second.client, f"/v1/executions/{paused}")["status"] == "PAUSED"
    post(second.client, f"/v1/executions/{paused}/resume")
    wait_for(second, paused, "TIMED_OUT")


@pytest.fixture
def model() -> Iterator[ModelServer]:
    with model_server() as server:
        yield server


def scripted(model: ModelServer) -> dict[str, str]:
    return {"OPENAI_API_BASE": model.url, "OPENAI_API_KEY": "sk-test"}


def wait_until(claim: Any, timeout_s: float = 60) -> None:
    deadline = time.monotonic() + timeout_s
    while not claim():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_a_paused_execution_outlives_everything_and_pays_for_no_call_twice(
    tmp_path: Path, ended: list[Process], model: ModelServer
) -> None:
    model.script(Turn(text="Tea.", delay_s=1.0), Turn(text="More tea."))
    ended.append(first := Up(tmp_path / "d", **scripted(model)))
    execution_id = speak(first)
    wait_until(lambda: model.requests)
    assert post(first.client, f"/v1/executions/{execution_id}/pause")["status"] == "PAUSED"
    wait_until(lambda: "execution.step_released" in types(first, execution_id))
    first.kill()
    ended.append(second := Up(tmp_path / "d", **scripted(model)))
    assert get(second.client, f"/v1/executions/{execution_id}")["status"] == "PAUSED"
    assert len(model.requests) == 1
    post(second.client, f"/v1/executions/{execution_id}/resume")
    execution = wait_for(second, execution_id, "COMPLETED")
    assert execution["output"]["text"] == "More tea."
    assert len(model.requests) == 2


def types(up: Up, execution_id: str) -> list[str]:
    items = get(up.client, f"/v1/executions/{execution_id}/history?limit=200")["items"]
    return [item["type"] for item in items]


def test_a_cancelled_execution_lets_go_of_its_runner_within_a_second_though_the_model_hangs(
    tmp_path: Path, ended: list[Process], model: ModelServer
) -> None:
    model.script(Turn(hangs=True), Turn(text="Tea."), Turn(text="More tea."))
    ended.append(up := Up(tmp_path / "d", KASAL_CONCURRENCY="1", **scripted(model)))
    hanging = speak(up)
    wait_until(lambda: model.requests)
    free = speak(up)
    begun = time.monotonic()
    post(up.client, f"/v1/executions/{hanging}/cancel")
    wait_until(lambda: len(model.requests) > 1)
    taken_s = time.monotonic() - begun
    assert wait_for_end(up.client, free)["status"] == "COMPLETED"
    assert get(up.client, f"/v1/executions/{hanging}")["status"] == "CANCELLED"
    assert taken_s < 5  # a second on a machine that does nothing else


def test_a_pause_before_another_attempt_outlives_everything(
    tmp_path: Path, ended: list[Process], model: ModelServer
) -> None:
    model.script(Turn(text="Tea."), Turn(status=401), Turn(text="More tea."))
    document = {**definition(), "retry": {"max_attempts": 2, "initial_s": 3, "on": ["auth"]}}
    ended.append(first := Up(tmp_path / "d", **scripted(model)))
    execution_id = start(first, document)
    wait_until(lambda: "execution.step_failed" in types(first, execution_id))
    first.kill()
    ended.append(second := Up(tmp_path / "d", **scripted(model)))
    execution = wait_for(second, execution_id, "COMPLETED")
    assert execution["output"]["text"] == "More tea."
    assert (len(model.requests), execution["steps"][0]["attempt"]) == (3, 2)


def test_a_failed_execution_goes_on_by_hand_and_pays_for_no_call_twice(
    tmp_path: Path, ended: list[Process], model: ModelServer
) -> None:
    model.script(Turn(text="Tea."), Turn(status=401), Turn(text="More tea."))
    ended.append(up := Up(tmp_path / "d", **scripted(model)))
    execution_id = speak(up)
    assert wait_for(up, execution_id, "FAILED")["failure"]["code"] == "auth"
    assert post(up.client, f"/v1/executions/{execution_id}/retry")["status"] == "PENDING"
    assert wait_for(up, execution_id, "COMPLETED")["output"]["text"] == "More tea."
    assert len(model.requests) == 3


def runner_children(up: Up) -> list[int]:
    """The processes that run steps: the children of the runner's parent, itself a child of `kasal up`."""
    parents = subprocess.run(["pgrep", "-P", str(up.popen.pid)], capture_output=True, text=True, check=False)
    found: list[int] = []
    for parent in parents.stdout.split():
        child = subprocess.run(["pgrep", "-P", parent], capture_output=True, text=True, check=False)
        found += map(int, child.stdout.split())
    return found


def holder_of(up: Up, execution_id: str) -> object:
    return get(up.client, f"/v1/executions/{execution_id}")["steps"][0]["runner"]


def test_a_frozen_runner_loses_its_step_and_its_late_report_changes_nothing(
    tmp_path: Path, ended: list[Process], model: ModelServer
) -> None:
    model.script(Turn(text="Late tea.", delay_s=2), Turn(text="Tea."), Turn(text="More tea."))
    ended.append(up := Up(tmp_path / "d", "--runners", "2", KASAL_LEASE_S="1", **scripted(model)))
    execution_id = speak(up)
    wait_until(lambda: model.requests)
    wait_until(lambda: holder_of(up, execution_id))
    frozen = int(str(holder_of(up, execution_id)).rpartition("-")[2])
    assert frozen in runner_children(up)
    os.kill(frozen, signal.SIGSTOP)
    try:
        execution = wait_for(up, execution_id, "COMPLETED")
    finally:
        os.kill(frozen, signal.SIGCONT)
    assert (execution["output"]["text"], execution["steps"][0]["attempt"]) == ("More tea.", 2)
    version = execution["version"]
    other = speak(up)
    wait_for(up, other, "COMPLETED")
    assert get(up.client, f"/v1/executions/{execution_id}")["version"] == version


def test_a_cancelled_execution_lets_go_of_its_runner_though_a_tool_hangs(
    tmp_path: Path, ended: list[Process], model: ModelServer
) -> None:
    slow = json.dumps({"text": "a" * 50_000 + "!", "pattern": "(a+)+$", "regex": True})
    model.script(Turn(tools=(("text_query", slow),)), Turn(text="Tea."), Turn(text="More tea."))
    ended.append(up := Up(tmp_path / "d", KASAL_CONCURRENCY="1", **scripted(model)))
    document = definition()
    document["agents"]["speaker"]["tools"] = ["text_query"]
    execution_id = start(up, document)
    wait_until(lambda: "execution.tool_call_started" in types(up, execution_id))
    free = speak(up)
    post(up.client, f"/v1/executions/{execution_id}/cancel")
    assert wait_for(up, free, "COMPLETED")["output"]["text"] == "More tea."
    assert get(up.client, f"/v1/executions/{execution_id}")["status"] == "CANCELLED"
