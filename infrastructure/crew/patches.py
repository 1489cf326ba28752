"""What of CrewAI 1.15.30 a runner does without, because many crews share its one process.

`apply` is called once by the engine, before its first crew. Its one rule: each patch turns off something
that this system has its own way of, is named here with its reason, and changes no answer; the pinned version
makes them safe.
"""

from __future__ import annotations

from collections.abc import Coroutine
from contextlib import nullcontext
from dataclasses import replace
from hashlib import sha256
from pathlib import Path
from typing import Any

from crewai.agents.agent_executor import AgentExecutor, AgentExecutorState
from crewai.events.event_bus import CrewAIEventsBus
from crewai.flow.runtime import FlowState
from crewai.memory.storage.kickoff_task_outputs_storage import KickoffTaskOutputsSQLiteStorage
from crewai.utilities import file_store
from crewai.utilities.tool_result_artifacts import ToolResultArtifact, ToolResultArtifactStore
from crewai_core.lock_store import set_lock_backend


def apply() -> None:
    """Safe to call again."""
    forget_replays()
    silence_events()
    forget_files()
    share_the_state_class()
    name_results_by_content()


def forget_replays() -> None:
    """For `crewai replay` every task's output goes to one SQLite file of the machine, under a file lock that
    is polled every 0.25 s: crews would wait for each other. Executions are replayed from the event log."""
    set_lock_backend(lambda *_, **__: nullcontext())
    KickoffTaskOutputsSQLiteStorage._initialize_db = nothing
    KickoffTaskOutputsSQLiteStorage.add = nothing
    KickoffTaskOutputsSQLiteStorage.update = nothing
    KickoffTaskOutputsSQLiteStorage.delete_all = nothing
    KickoffTaskOutputsSQLiteStorage.load = no_rows


def silence_events() -> None:
    """CrewAI's event bus keeps every event of a crew and hands each to the handlers of its console and its
    tracing on ten threads. Reports come from our own model, tools and tasks, in order; nobody listens to the
    bus."""
    CrewAIEventsBus.emit = nothing


def forget_files() -> None:
    """CrewAI looks for a task's input files ten times a crew, each time on a new event loop in a new thread,
    in a store that is not installed. Documents have no input files."""
    file_store._run_sync = no_answer


class ExecutorState(FlowState, AgentExecutorState):  # type: ignore[misc]
    """What CrewAI would define anew for every agent: its executor's state with an id."""


def share_the_state_class() -> None:
    """To define a pydantic class takes 6 ms, as long as all else that CrewAI does for a task."""
    AgentExecutor._create_initial_state = lambda _: ExecutorState()


def name_results_by_content() -> None:
    """A tool result of more than a quarter of the context window is put into a file, and the prompt names it.
    CrewAI makes the name from random bytes; the next request would differ from run to run, and be paid for
    again."""
    store = ToolResultArtifactStore.store

    def store_by_content(self: Any, content: str, estimated_token_count: int) -> ToolResultArtifact:
        found: ToolResultArtifact = store(self, content, estimated_token_count)
        name = f"tool-result-{sha256(content.encode(errors='replace')).hexdigest()[:22]}"
        folder = found.file_path.parent.with_name(name)
        folder.mkdir(mode=0o700, exist_ok=True)
        path = found.file_path.rename(folder / found.file_path.name)
        relative = Path(name, path.name)
        return replace(found, artifact_id=name, relative_path=relative, file_path=path)

    if store.__name__ != store_by_content.__name__:
        ToolResultArtifactStore.store = store_by_content


def nothing(*_: Any, **__: Any) -> None:
    """In place of a method whose work is not wanted."""


def no_answer(question: Coroutine[Any, Any, Any]) -> None:
    """In place of running it."""
    question.close()


def no_rows(*_: Any, **__: Any) -> list[Any]:
    """In place of a query whose table is not there."""
    return []
