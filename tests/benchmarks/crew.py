"""A crew of three tasks against a local model that takes 200 ms: what CrewAI and we add, and how many a core
runs.

Run by `make bench` or `python -m tests.benchmarks.crew`. The model is a process of its own behind litellm's
real `openai/` provider, and reports stay in memory. Crews a second are divided by the processor time that
this process used, so that the model server beside it does not count: that is a runner's core.
"""

from __future__ import annotations

import asyncio
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from application.ports import Assignment
from domain.definition import Definition
from domain.execution import Progress, StepCompleted
from infrastructure.llm.environment import prepare

if TYPE_CHECKING:
    from infrastructure.crew.engine import CrewAIEngine

MODEL_S = 0.2
TASKS = ("research", "draft", "edit")
ALONE, TOGETHER = 20, 50
ROUNDS = 3

DOCUMENT = msgspec.convert(
    {
        "name": "Blog production",
        "inputs": {"industry": {"type": "string"}},
        "agents": {
            name: {"role": f"{name} agent", "goal": "Do it well", "backstory": "Ten years"} for name in TASKS
        },
        "tasks": {
            name: {"agent": name, "description": f"{name} about {{industry}}", "expected_output": "a text"}
            for name in TASKS
        },
    },
    Definition,
)


class Figures(msgspec.Struct, frozen=True):
    """overhead_ms: of one crew alone, beyond the model's own time; per_core_s: crews a second of one core."""

    overhead_ms: float
    per_core_s: float
    per_s: float


class Silent:
    """A reporter in memory."""

    async def record(self, *entries: Progress, wait: bool = True) -> None:
        """Nothing to wait for."""

    def tokens(self, call: str, text: str) -> None:
        """Nobody watches."""


@contextmanager
def local_model(delay_s: float) -> Iterator[str]:
    """The URL of a model server in a process of its own."""
    command = [sys.executable, "-m", "tests.model_server", "--delay", str(delay_s)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            yield process.stdout.readline().strip()
        finally:
            process.terminate()


def assignment() -> Assignment:
    return Assignment(
        execution_id="benchmark",
        step="crew",
        attempt=1,
        definition=DOCUMENT,
        inputs={"industry": "robotics"},
        models={},
        default_model="openai/local",
    )


async def run_crew(engine: CrewAIEngine) -> float:
    """One crew; how many seconds it took."""
    begin = time.perf_counter()
    end = await engine.run(assignment(), Silent())
    assert isinstance(end, StepCompleted), end
    return time.perf_counter() - begin


async def measure() -> Figures:
    """Needs the environment of a runner, and a model at OPENAI_API_BASE."""
    from infrastructure.crew.engine import CrewAIEngine

    engine = CrewAIEngine()
    await asyncio.gather(*(run_crew(engine) for _ in range(5)))
    alone = [await run_crew(engine) for _ in range(ALONE)]
    rounds = [await together(engine) for _ in range(ROUNDS)]
    return Figures(
        overhead_ms=(statistics.median(alone) - MODEL_S * len(TASKS)) * 1000,
        per_core_s=statistics.median(TOGETHER / cpu for _, cpu in rounds),
        per_s=statistics.median(TOGETHER / wall for wall, _ in rounds),
    )


async def together(engine: CrewAIEngine) -> tuple[float, float]:
    """Wall and processor seconds of all the crews at once."""
    wall, cpu = time.perf_counter(), time.process_time()
    await asyncio.gather(*(run_crew(engine) for _ in range(TOGETHER)))
    return time.perf_counter() - wall, time.process_time() - cpu


def figures() -> Figures:
    """Measured in this process, which becomes a runner by it."""
    with local_model(MODEL_S) as url, tempfile.TemporaryDirectory() as home:
        prepare(Path(home))
        os.environ.update(OPENAI_API_BASE=url, OPENAI_API_KEY="local")
        return asyncio.run(measure())


if __name__ == "__main__":
    found = figures()
    print(f"crew of three tasks, overhead over 600 ms    {found.overhead_ms:6.1f} ms   (reach: <= 60)")
    print(f"crews/s per runner core, {TOGETHER} at once        {found.per_core_s:6.1f}      (reach: >= 15)")
    print(f"crews/s of the process, beside the model     {found.per_s:6.1f}")
