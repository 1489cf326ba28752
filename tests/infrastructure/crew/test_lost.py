"""Answers that are not stored any more when a step begins again: nothing that was journaled is done twice.

The whole way in memory (log, channel, runners) with CrewAI; an execution `x` has sent a long letter, and its
runner is gone while the model thinks about what was answered.
"""

from __future__ import annotations

import json
from types import ModuleType
from typing import Any

import msgspec
import pytest

from application.forks import fork_execution
from application.overrides import CallOverride, Overrides
from domain.execution import (
    CancelExecution,
    ExecutionCompleted,
    ExecutionFailed,
    ModelCallCompleted,
    ToolCallCompleted,
)
from tests.application.house import ME, House
from tests.infrastructure.crew.crews import document
from tests.infrastructure.crew.test_unknown import (
    WRITER,
    ended,
    engine,
    events,
    house,
    letters,
    settle,
    text,
    waiting,
)
from tests.model_server import ModelServer, Turn
from tests.waiting import eventually

__all__ = ["house", "letters"]

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning:crewai")
LETTER = "long " * 1_000


async def sent(house: House, letters: ModuleType, model: ModelServer, **agent: Any) -> None:
    """Execution `x` up to the model call that is to be told the tool's answer."""
    model.script(Turn(tools=(("send_letter", json.dumps({"text": LETTER})),)), Turn(hangs=True))
    model.answer = lambda request: Turn(text=f"Done: {request['messages'][-1]['content'][:20]}")
    await house.start("x", document({"only": {"description": "Send"}}, agents={"writer": WRITER | agent}))
    async with house.running(house.runner("r1", engine()).run()):
        await eventually(lambda: len(model.requests) == 2, 30)
    assert len(letters.EFFECTS) == 1


async def lose(house: House, kind: type[ToolCallCompleted | ModelCallCompleted]) -> str:
    """The texts of these outcomes; returns the call of the first."""
    outcomes = [event for event in await events(house) if isinstance(event, kind)]
    texts = {getattr(one, "result", None) or getattr(one, "response", None) for one in outcomes}
    digests = {content.digest for content in texts if content}
    for key in [key for key in house.log._contents if key[0] in digests]:
        del house.log._contents[key]
    return outcomes[0].call


async def test_a_tool_whose_answer_is_gone_is_asked_about_and_not_run_again(
    house: House, letters: ModuleType, model: ModelServer
) -> None:
    await sent(house, letters, model)
    call = await lose(house, ToolCallCompleted)
    async with house.running(house.runner("r2", engine()).run()):
        wait = await waiting(house)
        assert (wait.kind, wait.id) == ("unknown_outcome", call)
        assert wait.message.startswith("This happened, and what it answered is not stored any more: send_let")
        await settle(house, call, "happened", result=text("sent by post"))
        end = await ended(house)
    assert isinstance(end, ExecutionCompleted)
    assert end.output.text == "Done: sent by post"
    assert len(letters.EFFECTS) == 1


@pytest.mark.parametrize(("policy", "effects"), [("fail", 1), ("resend", 2)])
async def test_the_agents_policy_says_what_becomes_of_a_tool_whose_answer_is_gone(
    house: House, letters: ModuleType, model: ModelServer, policy: str, effects: int
) -> None:
    await sent(house, letters, model, unknown_outcome=policy)
    await lose(house, ToolCallCompleted)
    async with house.running(house.runner("r2", engine()).run()):
        end = await ended(house)
    assert len(letters.EFFECTS) == effects
    assert len(set(letters.EFFECTS)) == 1
    failure = end.failure.code if isinstance(end, ExecutionFailed) else ""
    assert failure == ("content_lost" if policy == "fail" else "")


async def test_a_model_whose_answer_is_gone_is_not_asked_again_and_a_fork_can_give_the_answer(
    house: House, letters: ModuleType, model: ModelServer
) -> None:
    """Another answer would lead to another letter."""
    await sent(house, letters, model)
    call = await lose(house, ModelCallCompleted)
    async with house.running(house.runner("r2", engine()).run()):
        end = await ended(house)
        assert isinstance(end, ExecutionFailed)
        assert (end.failure.code, end.failure.task) == ("content_lost", "only")
        assert call in end.failure.message
        assert (len(letters.EFFECTS), len(model.requests)) == (1, 2)
        overrides = Overrides(calls={call: CallOverride(result="All is said.")})
        await house.commands.handle(fork_execution("f", "x", overrides, tenant="default"), ME)
        end = await ended(house, "f")
    assert isinstance(end, ExecutionCompleted)
    assert (end.output.text, len(letters.EFFECTS), len(model.requests)) == ("All is said.", 1, 2)


async def test_a_fork_asks_about_a_tool_of_its_past_whose_answer_is_gone(
    house: House, letters: ModuleType, model: ModelServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Even one that is idempotent: the other execution called it under a key of its own."""
    monkeypatch.setattr(letters, "TOOL", msgspec.structs.replace(letters.TOOL, idempotent=True))
    await sent(house, letters, model)
    await house.commands.handle(CancelExecution(execution_id="x"), ME)
    call = await lose(house, ToolCallCompleted)
    await house.commands.handle(fork_execution("f", "x", Overrides(), tenant="default"), ME)
    async with house.running(house.runner("r2", engine()).run()):
        await settle(house, (await waiting(house, "f")).id, "happened", of="f", result=text("by post"))
        end = await ended(house, "f")
    assert isinstance(end, ExecutionCompleted)
    assert (end.output.text, len(letters.EFFECTS)) == ("Done: by post", 1)
    assert call in [event.call for event in await events(house) if isinstance(event, ToolCallCompleted)]
