"""Calls that nobody knows of after a crash, and outputs that a person approves: asked, answered, done.

The whole way in memory (log, channel, runners) with CrewAI; the tool is found like every other.
"""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

import msgspec
import pytest

import infrastructure.tools
from application.forks import fork_execution
from application.overrides import Overrides
from domain.catalog import Model, PlantEntry, Tool
from domain.errors import Rejected
from domain.execution import (
    CallReused,
    CallSettled,
    CancelExecution,
    Content,
    ExecutionCompleted,
    ExecutionFailed,
    ModelCallCompleted,
    ReviewTask,
    SettleCall,
    Status,
    StepState,
    ToolCallStarted,
    Wait,
)
from domain.message import Event
from domain.registry import event_of
from tests.application.house import ME, House
from tests.infrastructure.crew.crews import OPENAI, RETRY_DELAY_S, document
from tests.model_server import ModelServer, Turn
from tests.waiting import eventually

if TYPE_CHECKING:
    from infrastructure.crew.engine import CrewAIEngine

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning:crewai")
WRITER = {"role": "Writer", "goal": "Write", "backstory": "None", "model": OPENAI, "tools": ["send_letter"]}


@pytest.fixture
def letters(monkeypatch: pytest.MonkeyPatch) -> Iterator[ModuleType]:
    """The tool's module, among those of this release."""
    folder = str(Path(__file__).with_name("effects"))
    monkeypatch.setattr(infrastructure.tools, "__path__", [*infrastructure.tools.__path__, folder])
    from infrastructure.tools import send_letter  # type: ignore[attr-defined]

    send_letter.EFFECTS.clear()
    send_letter.LET_GO.clear()
    yield send_letter
    send_letter.LET_GO.set()


@pytest.fixture
async def house(letters: ModuleType, runner_home: Path, model: ModelServer) -> AsyncIterator[House]:
    house = House()
    entries = (Model(name=OPENAI), Tool(name="send_letter", description="Sends", parameters={}))
    for kind, entry in zip(("models", "tools"), entries, strict=True):
        await house.commands.handle(PlantEntry(kind=kind, entry=entry), ME)  # type: ignore[arg-type]
    async with house.running(house.dispatcher().run()):
        yield house


def engine() -> CrewAIEngine:
    from infrastructure.crew.engine import CrewAIEngine

    return CrewAIEngine(demo_delay_s=0, retry_delay_s=RETRY_DELAY_S)


async def events(house: House, of: str = "x") -> list[Event]:
    return [event_of(one) for one in await house.log.read_stream(f"execution-{of}")]


async def step(house: House, of: str = "x") -> StepState:
    return (await house.state(of)).steps["crew"]


async def crashed(house: House, letters: ModuleType, model: ModelServer, *texts: str, **agent: Any) -> None:
    """An execution `x` whose runner is gone while it sends these letters."""
    sends = [("send_letter", json.dumps({"text": text})) for text in texts]
    model.answer = lambda request: (
        Turn(text=f"Done: {[m['content'] for m in request['messages'] if m['role'] == 'tool']}")
        if any(message["role"] == "tool" for message in request["messages"])
        else Turn(tools=tuple(sends))
    )
    await house.start("x", document({"only": {"description": "Send"}}, agents={"writer": WRITER | agent}))
    async with house.running(house.runner("r1", engine()).run()):
        await eventually(lambda: len(letters.EFFECTS) == len(texts), 30)


async def waiting(house: House, of: str = "x") -> Wait:
    async def is_waiting() -> bool:
        return (await house.state(of)).status is Status.WAITING

    await eventually(is_waiting, 30)
    wait = (await step(house, of)).wait
    assert wait is not None
    return wait


async def ended(house: House, of: str = "x") -> Event:
    async def is_ended() -> bool:
        return not (await house.state(of)).is_open

    await eventually(is_ended, 30)
    return (await events(house, of))[-1]


async def settle(house: House, call: str, outcome: Any, of: str = "x", **rest: Any) -> None:
    await house.commands.handle(SettleCall(execution_id=of, call=call, outcome=outcome, **rest), ME)


async def fork(house: House, at: int | None = None) -> None:
    """An execution `f` with the past of `x`."""
    await house.commands.handle(fork_execution("f", "x", Overrides(), tenant="default", at=at), ME)
    house.executions.append("f")


def text(result: str) -> Content:
    return Content("d", len(result), result)


async def test_what_a_person_says_has_happened_is_not_sent_again(
    house: House, letters: ModuleType, model: ModelServer
) -> None:
    await crashed(house, letters, model, "hang")
    async with house.running(house.runner("r2", engine()).run()):
        wait = await waiting(house)
        assert wait.kind == "unknown_outcome"
        assert 'send_letter {"text":"hang"}' in wait.message
        await settle(house, wait.id, "happened", result=text("sent by post"))
        end = await ended(house)
    assert isinstance(end, ExecutionCompleted)
    assert end.output.text == "Done: ['sent by post']"
    assert len(letters.EFFECTS) == 1
    assert len(model.requests) == 2


async def test_what_did_not_happen_is_sent_again_under_the_same_key(
    house: House, letters: ModuleType, model: ModelServer
) -> None:
    await crashed(house, letters, model, "hang")
    async with house.running(house.runner("r2", engine()).run()):
        await settle(house, (await waiting(house)).id, "did_not_happen")
        end = await ended(house)
    assert isinstance(end, ExecutionCompleted)
    assert end.output.text == "Done: ['sent hang']"
    assert len(letters.EFFECTS) == 2
    assert letters.EFFECTS[0] == letters.EFFECTS[1]


async def test_a_fork_asks_about_a_call_of_its_past_as_the_other_execution_would(
    house: House, letters: ModuleType, model: ModelServer
) -> None:
    await crashed(house, letters, model, "hang")
    await house.commands.handle(CancelExecution(execution_id="x"), ME)
    await fork(house)
    async with house.running(house.runner("r2", engine()).run()):
        wait = await waiting(house, "f")
        assert wait.kind == "unknown_outcome"
        await settle(house, wait.id, "happened", of="f", result=text("sent by post"))
        end = await ended(house, "f")
    assert isinstance(end, ExecutionCompleted)
    assert end.output.text == "Done: ['sent by post']"
    assert len(letters.EFFECTS) == 1


async def test_a_fork_takes_over_what_a_person_said_has_happened(
    house: House, letters: ModuleType, model: ModelServer
) -> None:
    await crashed(house, letters, model, "hang")
    async with house.running(house.runner("r2", engine()).run()):
        await settle(house, (await waiting(house)).id, "happened", result=text("sent by post"))
        await ended(house)
        said = [isinstance(event, CallSettled) for event in await events(house)].index(True) + 1
        await fork(house, at=said)
        end = await ended(house, "f")
    assert isinstance(end, ExecutionCompleted)
    assert end.output.text == "Done: ['sent by post']"
    reused = [event for event in await events(house, "f") if isinstance(event, CallReused) and event.tool]
    assert [(event.tool, event.origin.version) for event in reused] == [("send_letter", said)]
    assert len(letters.EFFECTS) == 1


async def test_giving_up_fails_the_execution_with_the_reason(
    house: House, letters: ModuleType, model: ModelServer
) -> None:
    await crashed(house, letters, model, "hang")
    async with house.running(house.runner("r2", engine()).run()):
        call = (await waiting(house)).id
        await settle(house, call, "failed", message="nobody knows")
        end = await ended(house)
    assert isinstance(end, ExecutionFailed)
    assert end.failure.message == "nobody knows"
    with pytest.raises(Rejected, match="while failed"):
        await settle(house, call, "did_not_happen")


async def test_several_calls_are_asked_about_at_once(
    house: House, letters: ModuleType, model: ModelServer
) -> None:
    await crashed(house, letters, model, "hang one", "hang two")
    async with house.running(house.runner("r2", engine()).run()):
        wait = await waiting(house)
        first, second = wait.id, *wait.others
        await settle(house, first, "happened", result=text("first"))
        assert (await step(house)).wait == msgspec.structs.replace(wait, id=second, others=())
        with pytest.raises(Rejected, match="no step waits"):
            await settle(house, first, "did_not_happen")
        await settle(house, second, "happened", result=text("second"))
        assert isinstance(await ended(house), ExecutionCompleted)
    assert len(letters.EFFECTS) == 2


@pytest.mark.parametrize("policy", ["resend", "fail"])
async def test_the_agent_can_say_what_becomes_of_its_calls(
    house: House, letters: ModuleType, model: ModelServer, policy: str
) -> None:
    await crashed(house, letters, model, "hang", unknown_outcome=policy)
    async with house.running(house.runner("r2", engine()).run()):
        end = await ended(house)
    if policy == "resend":
        assert isinstance(end, ExecutionCompleted)
        assert len(letters.EFFECTS) == 2
    else:
        assert isinstance(end, ExecutionFailed)
        assert end.failure.code == "unknown_outcome"
        assert len(letters.EFFECTS) == 1


async def test_a_tool_that_is_idempotent_is_sent_again_under_the_same_key(
    house: House, letters: ModuleType, model: ModelServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(letters, "TOOL", msgspec.structs.replace(letters.TOOL, idempotent=True))
    await crashed(house, letters, model, "hang")
    async with house.running(house.runner("r2", engine()).run()):
        assert isinstance(await ended(house), ExecutionCompleted)
    assert letters.EFFECTS[0] == letters.EFFECTS[1]


async def test_a_tool_that_does_not_know_makes_the_step_wait(
    house: House, letters: ModuleType, model: ModelServer
) -> None:
    await crashed(house, letters, model, "lose")
    async with house.running(house.runner("r2", engine()).run()):
        await settle(house, (await waiting(house)).id, "happened", result=text("found it"))
        end = await ended(house)
    assert isinstance(end, ExecutionCompleted)
    assert end.output.text == "Done: ['found it']"
    assert len(letters.EFFECTS) == 1
    assert len([e for e in await events(house) if isinstance(e, ToolCallStarted)]) == 1


async def test_an_output_waits_for_a_person_and_is_made_again_with_what_was_said(
    house: House, model: ModelServer
) -> None:
    model.script(Turn(text="Draft one."), Turn(text="Draft two."), Turn(text="And the end."))
    tasks: dict[str, dict[str, Any]] = {
        "draft": {"description": "Draft", "human_input": True},
        "end": {"description": "End"},
    }
    plain = {"role": "Writer", "goal": "Write", "backstory": "None", "model": OPENAI}
    await house.start("x", document(tasks, agents={"writer": plain}))
    async with house.running(house.runner("r", engine()).run()):
        wait = await waiting(house)
        assert (wait.kind, wait.id, wait.message) == ("human_input", "draft:review:1", "Draft one.")
        said = ReviewTask(execution_id="x", review=wait.id, is_approved=False, feedback="Shorter!")
        await house.commands.handle(said, ME)
        wait = await waiting_for(house, "draft:review:2")
        assert wait.message == "Draft two."
        await house.commands.handle(ReviewTask(execution_id="x", review=wait.id, is_approved=True), ME)
        end = await ended(house)
    assert isinstance(end, ExecutionCompleted)
    assert end.output.text == "And the end."
    assert "Draft one." in model.prompts()[1]
    assert "Shorter!" in model.prompts()[1]
    assert (
        len([e for e in await events(house) if isinstance(e, ModelCallCompleted)]) == len(model.requests) == 3
    )


async def waiting_for(house: House, asked: str) -> Wait:
    async def is_asked() -> bool:
        wait = (await step(house)).wait
        return wait is not None and wait.id == asked

    await eventually(is_asked, 30)
    return await waiting(house)
