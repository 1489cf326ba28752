"""A runner's engine that is killed right behind a journal entry, and run again with the journal.

A program for `test_journal.py`. Reads a number k from standard input, runs the crew in a fork that kills
itself with SIGKILL behind the k-th journaled outcome (0: never), runs it again in another fork with what was
journaled, and prints how that ended, a line a trial. CrewAI is imported once, before the forks.
"""

from __future__ import annotations

import asyncio
import gc
import os
import signal
import sys
import tempfile
from pathlib import Path

import msgspec

from application.ports import Assignment
from domain.execution import Journaled, ModelCallCompleted, Progress, TaskCompleted
from infrastructure.llm.environment import prepare


class Trial(msgspec.Struct):
    """entries: journaled outcomes of both runs together; outputs: by task, of the second run."""

    entries: int
    tokens: int
    cost_usd: float
    outputs: dict[str, object]


class FileReporter:
    """`Reporter` whose journal is a file: each outcome is on disk before the engine goes on."""

    def __init__(self, path: Path, kill_behind: int) -> None:
        self._file = path.open("ab")
        self._kill_behind = kill_behind
        self._journaled = 0
        self.outputs: dict[str, object] = {}

    async def record(self, *entries: Progress, wait: bool = True) -> None:
        for entry in entries:
            if isinstance(entry, Journaled):
                self._keep(entry)
            if isinstance(entry, TaskCompleted):
                self.outputs[entry.task] = msgspec.to_builtins(entry.output)

    def _keep(self, entry: Journaled) -> None:
        self._file.write(msgspec.json.encode(entry) + b"\n")
        self._file.flush()
        os.fsync(self._file.fileno())
        self._journaled += 1
        if self._journaled == self._kill_behind:
            os.kill(os.getpid(), signal.SIGKILL)

    def tokens(self, call: str, text: str) -> None:
        """Nobody listens."""


def journal_in(path: Path) -> list[Journaled]:
    decoder = msgspec.json.Decoder(Journaled)
    return [decoder.decode(line) for line in path.read_bytes().splitlines()] if path.exists() else []


def run_in_fork(assignment: Assignment, path: Path, result: Path, kill_behind: int) -> None:
    """One incarnation of the runner."""
    if child := os.fork():
        os.waitpid(child, 0)
        return
    from infrastructure.crew.engine import CrewAIEngine

    async def run() -> dict[str, object]:
        reporter = FileReporter(path, kill_behind)
        ended = await CrewAIEngine(demo_delay_s=0, retry_delay_s=0.01).run(assignment, reporter)
        return {**reporter.outputs, "ended": type(ended).__name__}

    result.write_bytes(msgspec.json.encode(asyncio.run(run())))
    os._exit(0)


def trial(assignment: Assignment, kill_behind: int) -> Trial:
    with tempfile.TemporaryDirectory() as folder:
        path, result = Path(folder) / "journal", Path(folder) / "result"
        if kill_behind:
            run_in_fork(assignment, path, result, kill_behind)
        again = msgspec.structs.replace(assignment, journal=tuple(journal_in(path)))
        run_in_fork(again, path, result, 0)
        entries = journal_in(path)
        calls = [entry for entry in entries if isinstance(entry, ModelCallCompleted)]
        return Trial(
            entries=len(entries),
            tokens=sum(call.prompt_tokens + call.completion_tokens for call in calls),
            cost_usd=sum(call.cost_usd for call in calls),
            outputs=msgspec.json.decode(result.read_bytes()),
        )


def main() -> None:
    assignment = msgspec.json.decode(Path(sys.argv[1]).read_bytes(), type=Assignment)
    with tempfile.TemporaryDirectory() as home:
        prepare(Path(home))
        import infrastructure.crew.engine  # noqa: F401 - once, before the forks

        gc.freeze()
        for line in sys.stdin:
            print(msgspec.json.encode(trial(assignment, int(line))).decode(), flush=True)  # noqa: T201


if __name__ == "__main__":
    main()
