"""WholeRuns of whole crews: what is answered from the past, and what is asked of the model.

The whole way in memory (log, channel, runner) with CrewAI and a model that counts its requests.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import TYPE_CHECKING, Any, Literal

import pytest

from application.forks import fork_execution
from application.overrides import AgentOverride, CallOverride, Overrides, TaskOverride
from domain.catalog import Model, PlantEntry, Tool
from domain.definition import Definition
from domain.execution import (
    CallReused,
    DecideApproval,
    ExecutionCompleted,
    ModelCallCompleted,
    RescheduleStep,
    Status,
    TaskStarted,
    ToolCallCompleted,
)
from domain.execution.approvals import digest_of
from domain.execution.rules.asking import shown_outputs
from domain.message import Event
from tests.application.house import ME
from tests.infrastructure.crew.crews import document
from tests.infrastructure.crew.whole_runs import WholeRuns
from tests.model_server import ModelServer, Turn
from tests.waiting import eventually

if TYPE_CHECKING:
    from infrastructure.crew.engine import CrewAIEngine

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning:crewai")
SMALL, LARGE = "openai/small", "openai/large"


def crew() -> Definition:
    """A first task without a tool, a second with one, a third that sees both."""
    tasks: dict[str, dict[str, Any]] = {
        "research": {"description": "Find facts about {topic}"},
        "count": {"description": "Count them", "context": ["research"], "tools": ["calculator"]},
        "write": {"description": "Write it up", "context": ["research", "count"]},
    }
    writer = {"role": "Writer", "goal": "Write plainly", "backstory": "A former reporter", "model": SMALL}
    return document(tasks, inputs={"topic": {"type": "string"}}, agents={"writer": writer})


def answer(request: dict[str, Any]) -> Turn:
    """The same for the same messages; a tool first where one is offered."""
    messages = request["messages"]
    if request.get("tools") and not any(message["role"] == "tool" for message in messages):
        return Turn(tools=(("calculator", '{"expression": "6 * 7"}'),))
    return Turn(text=f"{request['model']} says {messages[-1]['content'][:40]!r}")


@pytest.fixture
async def house(engine: CrewAIEngine, model: ModelServer) -> AsyncIterator[WholeRuns]:
    """With an execution `p` that has completed."""
    model.answer = answer
    house = WholeRuns()
    for name in (SMALL, LARGE):
        await house.commands.handle(PlantEntry(kind="models", entry=Model(name=name)), ME)
    tool = Tool(name="calculator", description="Calculates", parameters={})
    await house.commands.handle(PlantEntry(kind="tools", entry=tool), ME)
    async with house.running(house.dispatcher().run(), house.runner("r", engine).run()):
        await house.start("p", crew(), topic="tea")
        await house.run("p")
        model.requests.clear()
        yield house


async def version_of(house: WholeRuns, kind: type[Event], number: int = 1, of: str = "p") -> int:
    """Of the n-th event of a kind in an execution's history."""
    events = await house.events(of)
    return [version for version, event in enumerate(events, 1) if isinstance(event, kind)][number - 1]


def result_of(events: list[Event]) -> str:
    assert isinstance(events[-1], ExecutionCompleted), events[-1]
    return events[-1].output.text


def reused(events: list[Event]) -> list[CallReused]:
    return [event for event in events if isinstance(event, CallReused)]


def begun(events: list[Event]) -> list[str]:
    return [event.task for event in events if isinstance(event, TaskStarted)]


async def test_a_fork_without_changes_ends_the_same_and_asks_only_what_is_left(
    house: WholeRuns, model: ModelServer
) -> None:
    before_write = await version_of(house, TaskStarted, 3)
    fork = await house.fork("f", "p", before_write)
    assert result_of(fork) == result_of(await house.events("p"))
    assert begun(fork) == ["write"]
    assert len(model.requests) == 1
    assert len(reused(fork)) == 4


async def test_another_model_is_asked_from_there_on_only(house: WholeRuns, model: ModelServer) -> None:
    tool_answered = await version_of(house, ToolCallCompleted)
    fork = await house.fork("f", "p", tool_answered, model=LARGE)
    assert begun(fork) == ["count", "write"]
    assert [request["model"] for request in model.requests] == ["large", "large"]
    calls = [(call.model, call.tool, bool(call.attempt)) for call in reused(fork)]
    assert calls == [(SMALL, None, False), (SMALL, None, True), (None, "calculator", True)]


async def test_an_edited_prompt_is_asked_from_its_task_on(house: WholeRuns, model: ModelServer) -> None:
    fork = await house.fork("f", "p", tasks={"count": TaskOverride(description="Count them twice")})
    assert begun(fork) == ["count", "write"]
    assert ["Count them twice" in str(request["messages"]) for request in model.requests[:2]] == [True, True]
    assert [call.task for call in reused(fork)] == ["research"]


async def test_a_changed_agent_asks_anew_what_was_under_way(house: WholeRuns, model: ModelServer) -> None:
    tool_answered = await version_of(house, ToolCallCompleted)
    agents = {"writer": AgentOverride(backstory="A former accountant")}
    fork = await house.fork("f", "p", tool_answered, agents=agents)
    assert len(model.requests) == 3
    assert all("accountant" in str(request["messages"]) for request in model.requests)
    assert [call.tool for call in reused(fork)] == [None, "calculator"]


async def test_other_inputs_reach_the_tasks_that_are_left(house: WholeRuns, model: ModelServer) -> None:
    fork = await house.fork("f", "p", 1, inputs={"topic": "coffee"})
    assert "coffee" in str(model.requests[0]["messages"])
    assert result_of(fork) == result_of(await house.events("p"))


async def test_an_edited_result_is_what_the_agent_sees(house: WholeRuns, model: ModelServer) -> None:
    events = await house.events("p")
    tool = next(event for event in events if isinstance(event, ToolCallCompleted))
    fork = await house.fork("f", "p", calls={tool.call: CallOverride(result="43")})
    assert [m["content"] for m in model.requests[0]["messages"] if m["role"] == "tool"] == ["43"]
    assert [call.is_edited for call in reused(fork)] == [False, False, True]
    answer = next(event for event in events if isinstance(event, ModelCallCompleted))
    fork = await house.fork("g", "p", calls={answer.call: CallOverride(result="No facts")})
    assert "No facts" in str(model.requests[-1]["messages"])
    assert sum(call.prompt_tokens for call in reused(fork)) == 0


async def test_a_fork_of_a_fork_has_the_past_of_both(house: WholeRuns, model: ModelServer) -> None:
    tool_answered = await version_of(house, ToolCallCompleted)
    first = await house.fork("f", "p", tool_answered, model=LARGE)
    model.requests.clear()
    counted = await version_of(house, ModelCallCompleted, of="f")
    second = await house.fork("g", "f", counted, inputs={"topic": "tea"}, model=SMALL)
    assert begun(second) == ["count", "write"]
    assert [request["model"] for request in model.requests] == ["small"]
    assert [call.origin.execution_id for call in reused(second)] == ["p", "p", "p", "f"]
    assert [call.call for call in reused(second)[:3]] == [call.origin.call for call in reused(first)]


async def test_a_fork_that_begins_again_reuses_each_call_once(house: WholeRuns, model: ModelServer) -> None:
    tool_answered = await version_of(house, ToolCallCompleted)
    model.script(Turn(hangs=True))
    await house.commands.handle(fork_execution("f", "p", Overrides(), tenant="default", at=tool_answered), ME)
    await eventually(lambda: len(model.requests) == 1, 30)
    await house.commands.handle(RescheduleStep(execution_id="f", step="crew", turn=1, reason="lost"), ME)
    fork = await house.run("f")
    assert len(reused(fork)) == 3
    assert len(model.requests) == 3
    assert begun(fork) == ["count", "count", "write"]


async def test_a_fork_of_work_that_was_sent_back_is_answered_what_was_said_to_the_remark(
    house: WholeRuns, model: ModelServer
) -> None:
    """It begins when the model had answered again and the task had not completed yet."""
    steps = {
        "work": {"crew": {"tasks": ["draft"]}},
        "gate": {"approval": {"message": "Send it?"}, "after": ["work"]},
    }
    writer = {"role": "Writer", "goal": "Write plainly", "backstory": "A former reporter", "model": SMALL}
    tasks: dict[str, dict[str, Any]] = {"draft": {"description": "Draft"}}
    await house.start("g", document(tasks, agents={"writer": writer}, steps=steps))
    await eventually(lambda: asks(house, "g", 1), 30)
    await decide(house, "g", "1-gate", "retry", "Mention the weather")
    await eventually(lambda: asks(house, "g", 2), 30)
    assert [("Mention the weather" in prompt) for prompt in model.prompts()] == [False, True]
    at = await version_of(house, ModelCallCompleted, 2, of="g")
    wish = fork_execution("h", "g", Overrides(), tenant="default", at=at)
    await house.commands.handle(wish, ME)
    await eventually(lambda: asks(house, "h", 1), 30)
    assert len(model.requests) == 2
    assert (await house.state("h")).outputs == (await house.state("g")).outputs


async def asks(house: WholeRuns, execution_id: str, number: int) -> bool:
    state = await house.state(execution_id)
    return state.status is Status.WAITING and f"{number}-gate" in state.approvals


async def decide(
    house: WholeRuns, execution_id: str, approval: str, decision: Literal["retry"], comment: str
) -> None:
    digest = digest_of("Send it?", shown_outputs(await house.state(execution_id), "gate"))
    wish = DecideApproval(
        execution_id=execution_id,
        approval_id=approval,
        decision=decision,
        digest=digest,
        approver="ann",
        comment=comment,
    )
    await house.commands.handle(wish, ME)
