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
from pathlib import Path
from typing import Any

import msgspec
import pytest

from application.ports import Assignment
from tests.infrastructure.crew.crews import OPENAI, assignment
from tests.infrastructure.crew.journaled_crews import (
    SMALL,
    answer,
    delegating,
    full,
    hierarchical,
    sequential,
)
from tests.model_server import ModelServer, model_server

CREWS = {
    "sequential": assignment(sequential(), model=OPENAI),
    "full": assignment(full(), model=OPENAI),
    "hierarchical": assignment(hierarchical(), model=OPENAI),
    "delegating, with large results": assignment(delegating(), entry=SMALL),
}

Trial = dict[str, Any]
Run = Callable[[int], tuple[Trial, int]]


@pytest.fixture(params=list(CREWS.values()), ids=list(CREWS))
def run(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Run]:
    """Runs a trial: (how it ended, requests that reached the model)."""
    crew: Assignment = request.param
    path = tmp_path / "assignment"
    path.write_bytes(msgspec.json.encode(crew))
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
"""Two tasks, or two coworkers, call side by side: at a kill behind one's entry, the other's call may be under
way."""
