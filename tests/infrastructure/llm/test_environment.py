"""What importing and running CrewAI leaves behind: in a process of its own, as a runner is."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[3]
PROGRAM = """
import json, os, signal, socket, sys
from pathlib import Path
looked_up = []
real = socket.getaddrinfo
socket.getaddrinfo = lambda host, *rest, **more: (looked_up.append(str(host)), real(host, *rest, **more))[1]
sys.path.insert(0, sys.argv[2])
from infrastructure.llm.environment import prepare
prepare(Path(sys.argv[1]))
handlers = [signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)]
import asyncio
from infrastructure.crew.engine import CrewAIEngine
from tests.infrastructure.crew.crews import MemoryReporter, assignment, three_tasks
reporter = MemoryReporter()
work = assignment(three_tasks(), inputs={"industry": "robotics"})
asyncio.run(CrewAIEngine(demo_delay_s=0).run(work, reporter))
print(json.dumps({
    "kinds": reporter.kinds,
    "looked_up": looked_up,
    "handlers_kept": handlers == [signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)],
    "cwd": os.getcwd(),
    "dotenv": os.environ.get("FROM_A_DOTENV_FILE"),
    "threads": [t.name for t in __import__("threading").enumerate() if not t.daemon],
}))
"""


@pytest.fixture(scope="module")
def left(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What the process says of itself at its end, and the files outside of its home."""
    outside = tmp_path_factory.mktemp("outside")
    (outside / ".env").write_text("FROM_A_DOTENV_FILE=read\n")
    home = tmp_path_factory.mktemp("home") / "runner"
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, str(home), str(ROOT)],
        cwd=outside,
        env={**os.environ, "HOME": str(outside), "TMPDIR": str(outside)},
        capture_output=True,
        text=True,
        timeout=110,
        check=True,
    )
    files = [path.name for path in outside.rglob("*") if path.is_file()]
    said: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return said | {"home": str(home), "outside": files, "stderr": done.stderr}


def test_a_crew_runs(left: dict[str, Any]) -> None:
    assert left["kinds"][-1] == "TaskCompleted"


def test_nobody_is_asked_over_the_network(left: dict[str, Any]) -> None:
    assert left["looked_up"] == []


def test_signals_stay_the_runners(left: dict[str, Any]) -> None:
    assert left["handlers_kept"]


def test_files_are_written_in_the_home_alone(left: dict[str, Any]) -> None:
    assert left["outside"] == [".env"]
    assert left["cwd"] == f"{left['home']}/work"


def test_no_dotenv_file_is_read(left: dict[str, Any]) -> None:
    assert left["dotenv"] is None


def test_nothing_is_said_on_standard_error(left: dict[str, Any]) -> None:
    assert left["stderr"] == ""


def test_no_thread_of_ours_keeps_the_process_from_ending(left: dict[str, Any]) -> None:
    assert "kasal-crew" not in left["threads"]
