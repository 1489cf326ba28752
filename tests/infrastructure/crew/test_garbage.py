"""What Python's garbage collector does in a runner."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar, copy_context
from typing import TYPE_CHECKING

import pytest

from tests.infrastructure.crew.crews import OPENAI, MemoryReporter, assignment, document
from tests.model_server import ModelServer

if TYPE_CHECKING:
    from infrastructure.crew.engine import CrewAIEngine

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning:crewai")

ONE_TASK = document({"only": {"description": "Say something"}})


@contextmanager
def variables_set_by_garbage() -> Iterator[set[str]]:
    """The names of context variables that collections set while this was open, in whichever thread."""
    before: dict[ContextVar[object], object] = {}
    found: set[str] = set()

    def watch(phase: str, _: dict[str, int]) -> None:
        now = dict(copy_context())
        if phase == "stop":
            found.update(var.name for var, value in now.items() if before.get(var) is not value)
        before.clear()
        before.update(now)

    gc.callbacks.append(watch)
    try:
        yield found
    finally:
        gc.callbacks.remove(watch)


async def test_garbage_sets_no_context_variable(engine: CrewAIEngine, model: ModelServer) -> None:
    """Python 3.11 collects within `ContextVar.set`, and ends by SIGSEGV when a finalizer sets one too."""
    with variables_set_by_garbage() as found:
        for _ in range(3):
            await engine.run(assignment(ONE_TASK, model=OPENAI), MemoryReporter())
            gc.collect()
    assert not found
