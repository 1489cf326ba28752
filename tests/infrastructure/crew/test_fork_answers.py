"""What people have said in the past of a fork: it is not asked again where it was said of the same.

The whole way in memory (log, channel, runners) with CrewAI; `x` is the execution, `f` its fork.
"""

from __future__ import annotations

from types import ModuleType
from typing import Any

import msgspec
import pytest

from application.forks import fork_execution
from application.overrides import CallOverride, Overrides, TaskOverride
from domain.execution import (
    CallReused,
    CancelExecution,
    ExecutionCompleted,
    ModelCallCompleted,
    ReviewTask,
    ToolCallStarted,
)
from tests.application.house import ME, House
from tests.infrastructure.crew.crews import OPENAI, document
from tests.infrastructure.crew.test_unknown import (
    crashed,
    ended,
    engine,
    events,
    house,
    letters,
    waiting,
)
from tests.model_server import ModelServer, Turn
from tests.waiting import eventually

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning:crewai")
__all__ = ["house", "letters"]

PLAIN = {"role": "Writer", "goal": "Write", "backstory": "None", "model": OPENAI}
TASKS: dict[str, dict[str, Any]] = {
    "draft": {"description": "Draft", "human_input": True},
    "end": {"description": "End"},
}


async def review(house: House, of: str, *, is_approved: bool, feedback: str = "") -> None:
    asked = (await waiting(house, of)).id
    said = ReviewTask(execution_id=of, review=asked, is_approved=is_approved, feedback=feedback)
    await house.commands.handle(said, ME)


async def fork(house: House, at: int | None = None, **overrides: Any) -> None:
    changed = fork_execution("f", "x", Overrides(**overrides), tenant="default", at=at)
    await house.commands.handle(changed, ME)


async def test_a_fork_knows_what_a_person_said_of_an_output(house: House, model: ModelServer) -> None:
    model.script(*(Turn(text=text) for text in ("Draft one.", "Draft two.", "And the end.")))
    await house.start("x", document(TASKS, agents={"writer": PLAIN}))
    async with house.running(house.runner("r", engine()).run()):
        await review(house, "x", is_approved=False, feedback="Shorter!")
        await second_draft(house)
        await fork(house)
        wait = await waiting(house, "f")
        assert (wait.id, wait.message, len(model.requests)) == ("draft:review:2", "Draft two.", 2)
        await review(house, "f", is_approved=True)
        end = await ended(house, "f")
    assert isinstance(end, ExecutionCompleted)
    assert (end.output.text, len(model.requests)) == ("And the end.", 3)


async def second_draft(house: House) -> None:
    async def is_there() -> bool:
        return sum(isinstance(event, ModelCallCompleted) for event in await events(house)) == 2

    await eventually(is_there, 30)
    await waiting(house)


async def test_a_fork_with_another_prompt_asks_about_what_comes_of_it(
    house: House, model: ModelServer
) -> None:
    model.script(Turn(text="Draft one."), Turn(text="Draft two."), Turn(text="A poem."))
    await house.start("x", document(TASKS, agents={"writer": PLAIN}))
    async with house.running(house.runner("r", engine()).run()):
        await review(house, "x", is_approved=False, feedback="Shorter!")
        await second_draft(house)
        await fork(house, tasks={"draft": TaskOverride(description="Write a poem")})
        wait = await waiting(house, "f")
    assert (wait.id, wait.message) == ("draft:review:1", "A poem.")


async def test_a_fork_can_give_the_answer_of_a_call_that_nobody_knows_of(
    house: House, letters: ModuleType, model: ModelServer
) -> None:
    await crashed(house, letters, model, "hang")
    await house.commands.handle(CancelExecution(execution_id="x"), ME)
    (begun,) = [event for event in await events(house) if isinstance(event, ToolCallStarted)]
    await fork(house, calls={begun.call: CallOverride(result="sent by post")})
    async with house.running(house.runner("r2", engine()).run()):
        end = await ended(house, "f")
    assert isinstance(end, ExecutionCompleted)
    assert (end.output.text, len(letters.EFFECTS)) == ("Done: ['sent by post']", 1)
    reused = [event for event in await events(house, "f") if isinstance(event, CallReused) and event.tool]
    intent = (await events(house)).index(begun) + 1
    assert [(one.origin.version, one.is_edited) for one in reused] == [(intent, True)]


async def test_a_fork_sends_an_idempotent_call_of_its_past_again_under_the_same_key(
    house: House, letters: ModuleType, model: ModelServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(letters, "TOOL", msgspec.structs.replace(letters.TOOL, idempotent=True))
    await crashed(house, letters, model, "hang")
    await house.commands.handle(CancelExecution(execution_id="x"), ME)
    await fork(house)
    async with house.running(house.runner("r2", engine()).run()):
        assert isinstance(await ended(house, "f"), ExecutionCompleted)
    assert len(letters.EFFECTS) == 2
    assert letters.EFFECTS[0] == letters.EFFECTS[1]
