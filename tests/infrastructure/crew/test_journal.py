"""No journaled call is ever repeated: SIGKILL behind every journal entry in turn, then run again.

The crews run in forks of a process of their own (`killed_runs.py`); the model is a real HTTP server, reached
through litellm's `openai/` provider, that counts every request.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from hashlib import sha256
from pathlib import Path
from typing import Any

import msgspec
import pytest

from domain.definition import Definition
from tests.infrastructure.crew.crews import OPENAI, assignment, document
from tests.model_server import ModelServer, Turn, model_server

RISK = {
    "type": "object",
    "properties": {"score": {"type": "number"}, "why": {"type": "string"}},
    "required": ["score", "why"],
    "additionalProperties": False,
}
Trial = dict[str, Any]
Run = Callable[[int], tuple[Trial, int]]


def sequential() -> Definition:
    """Three agents, three tasks, each with the earlier ones as context."""
    return document(
        {
            "one": {"description": "Find facts"},
            "two": {"description": "Write them up", "context": ["one"]},
            "three": {"description": "Edit the text", "context": ["one", "two"]},
        }
    )


def full() -> Definition:
    """Tools (two at once), two async tasks, two output schemas."""
    return document(
        {
            "count": {"description": "Count with tools", "tools": ["calculator", "text_query"]},
            "left": {"description": "Go left", "async_execution": True, "context": ["count"]},
            "right": {"description": "Go right", "async_execution": True, "context": ["count"]},
            "judge": {"description": "Judge", "context": ["left", "right"], "output_schema": "Risk"},
            "again": {"description": "Judge again", "context": ["judge"], "output_schema": "Risk"},
        },
        schemas={"Risk": RISK},
    )


def answer(request: dict[str, Any]) -> Turn:
    """The same for the same request, whenever it comes; tools first, where they are offered."""
    messages = request["messages"]
    digest = sha256(json.dumps(messages, sort_keys=True).encode()).hexdigest()[:8]
    if request.get("tools") and not any(message["role"] == "tool" for message in messages):
        query = json.dumps({"text": "a b a", "pattern": "a"})
        return Turn(tools=(("calculator", '{"expression": "6 * 7"}'), ("text_query", query)), delay_s=0.01)
    if request.get("response_format") or "JSON" in json.dumps(messages):
        return Turn(text=json.dumps({"score": 0.5, "why": digest}), delay_s=0.01)
    return Turn(text=f"Final Answer: text {digest}", delay_s=0.01)


@pytest.fixture(params=[sequential, full], ids=["sequential", "full"])
def run(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Run]:
    """Runs a trial: (how it ended, requests that reached the model)."""
    path = tmp_path / "assignment"
    path.write_bytes(msgspec.json.encode(assignment(request.param(), model=OPENAI)))
    with model_server(answer) as server:
        environment = {**os.environ, "OPENAI_API_BASE": server.url, "OPENAI_API_KEY": "local"}
        program = subprocess.Popen(
            [sys.executable, "-m", "tests.infrastructure.crew.killed_runs", str(path)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=environment,
        )
        yield lambda kill_behind: one_trial(program, server, kill_behind)
        program.kill()
        program.wait()


def one_trial(program: subprocess.Popen[str], server: ModelServer, kill_behind: int) -> tuple[Trial, int]:
    assert program.stdin is not None
    assert program.stdout is not None
    before = len(server.requests)
    program.stdin.write(f"{kill_behind}\n")
    program.stdin.flush()
    line = program.stdout.readline()
    assert line, "the program of the trials has ended"
    return json.loads(line), len(server.requests) - before


@pytest.mark.timeout(300)
def test_a_crew_that_is_killed_behind_any_entry_ends_the_same_and_pays_once(run: Run) -> None:
    whole, requests = run(0)
    assert whole["outputs"]["ended"] == "StepCompleted"
    for kill_behind in range(1, whole["entries"] + 1):
        killed, sent = run(kill_behind)
        assert killed == whole, f"killed behind entry {kill_behind}"
        assert requests <= sent <= requests + MOST_IN_FLIGHT, f"killed behind entry {kill_behind}"


MOST_IN_FLIGHT = 1
"""Two async tasks call side by side: at a kill behind one's entry, the other's call may be under way."""
