"""Crews to run in tests, and a reporter that keeps what it is told."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import msgspec

from application.ports import Assignment, Stopped
from domain.catalog import Model
from domain.definition import Definition
from domain.execution import Drained, Progress, TaskOutput

RETRY_DELAY_S = 0.01
OPENAI = "openai/scripted"
E = TypeVar("E")


class MemoryReporter:
    """entries: what was recorded; pieces: what was streamed, by call. refuse: raise `Stopped` at such an
    entry; is_draining: refuse what would begin something. unawaited: what was not waited for.
    """

    def __init__(self, refuse: Callable[[Progress], bool] = lambda _: False) -> None:
        self.entries: list[Progress] = []
        self.pieces: dict[str, list[str]] = {}
        self._refuse = refuse
        self.is_draining = False
        self.unawaited: list[str] = []

    async def record(self, *entries: Progress, wait: bool = True) -> None:
        if self.is_draining and not all(isinstance(entry, Drained) for entry in entries):
            raise Stopped("told to let go", is_over=True, is_draining=True)
        if any(map(self._refuse, entries)):
            raise Stopped("refused")
        self.entries.extend(entries)
        if not wait:
            self.unawaited += [type(entry).__name__ for entry in entries]

    def tokens(self, call: str, text: str) -> None:
        self.pieces.setdefault(call, []).append(text)

    def of(self, kind: type[E]) -> list[E]:
        """The entries of one kind, in order."""
        return [entry for entry in self.entries if isinstance(entry, kind)]

    @property
    def kinds(self) -> list[str]:
        """What happened, in a word each."""
        return [type(entry).__name__ for entry in self.entries]


def document(tasks: dict[str, dict[str, Any]], **rest: Any) -> Definition:
    """A workflow of such tasks; the agent `writer` works on those that name none."""
    agents: dict[str, Any] = {
        "writer": {"role": "Writer", "goal": "Write plainly", "backstory": "A former reporter"}
    }
    whole = {
        "name": "Crew",
        "agents": agents | rest.pop("agents", {}),
        "tasks": {
            name: {"agent": "writer", "expected_output": "a text"} | task for name, task in tasks.items()
        },
    }
    return msgspec.convert(whole | rest, Definition)


def assignment(
    definition: Definition,
    *,
    model: str = "demo/small",
    entry: Model | None = None,
    inputs: dict[str, Any] | None = None,
    step: str = "crew",
    outputs: dict[str, str] | None = None,
) -> Assignment:
    """The step of a workflow, for agents that use the model."""
    return Assignment(
        execution_id="execution",
        step=step,
        attempt=3,
        definition=definition,
        inputs=inputs or {},
        models={entry.name: entry} if entry else {},
        default_model=entry.name if entry else model,
        outputs={task: TaskOutput(text) for task, text in (outputs or {}).items()},
    )


def three_tasks() -> Definition:
    """Research, draft and edit; each sees what came before."""
    return document(
        {
            "research": {"description": "Find three developments in {industry}"},
            "draft": {"description": "Write a post about {industry}", "context": ["research"]},
            "edit": {"description": "Edit the draft", "context": ["research", "draft"]},
        },
        inputs={"industry": {"type": "string"}},
    )
