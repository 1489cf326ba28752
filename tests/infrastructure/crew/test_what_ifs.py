"""What-ifs of whole crews: models are asked anew, tools are answered from the past and never run."""

from __future__ import annotations

from typing import Any

import pytest

from application.overrides import AgentOverride, CallOverride, Overrides, TaskOverride
from application.what_ifs import what_if_execution
from domain.errors import Invalid, NotFound, Rejected
from domain.execution import (
    CallReused,
    ExecutionFailed,
    ModelCallCompleted,
    ToolCallStarted,
)
from domain.message import Event
from tests.application.house import ME
from tests.infrastructure.crew.test_forks import LARGE, answer, house, result_of, reused
from tests.infrastructure.crew.whole_runs import WholeRuns
from tests.model_server import ModelServer, Turn

__all__ = ["house"]
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning:crewai")


async def what_if(house: WholeRuns, name: str, parent: str = "p", **overrides: Any) -> list[Event]:
    wish = what_if_execution(name, parent, Overrides(**overrides), tenant="default")
    await house.commands.handle(wish, ME)
    return await house.run(name)


def calls_made(events: list[Event]) -> tuple[int, int]:
    """Of models, of tools."""
    models = [event for event in events if isinstance(event, ModelCallCompleted)]
    return len(models), sum(isinstance(event, ToolCallStarted) for event in events)


async def test_another_model_is_asked_everything_and_no_tool_is_run(
    house: WholeRuns, model: ModelServer
) -> None:
    events = await what_if(house, "w", model=LARGE)
    assert "large says" in result_of(events)
    assert {request["model"] for request in model.requests} == {"large"}
    assert calls_made(events) == (4, 0)
    assert [(call.tool, call.origin.execution_id) for call in reused(events)] == [("calculator", "p")]


async def test_an_edited_prompt_reaches_the_model(house: WholeRuns, model: ModelServer) -> None:
    events = await what_if(house, "w", tasks={"write": TaskOverride(description="Write a poem")})
    assert calls_made(events) == (4, 0)
    assert "Write a poem" in str(model.requests[-1]["messages"])
    assert result_of(events) != result_of(await house.events("p"))


async def test_a_tool_call_that_was_never_made_ends_it_there(house: WholeRuns, model: ModelServer) -> None:
    def another(request: dict[str, Any]) -> Turn:
        turn = answer(request)
        return Turn(tools=(("calculator", '{"expression": "6 * 8"}'),)) if turn.tools else turn

    model.answer = another
    events = await what_if(house, "w")
    assert isinstance(events[-1], ExecutionFailed)
    assert events[-1].failure.code == "what_if_diverged"
    assert "6 * 8" in events[-1].failure.message
    assert calls_made(events) == (2, 0)


async def test_a_what_if_of_a_fork_knows_the_tools_of_both(house: WholeRuns) -> None:
    await house.fork("f", "p", tasks={"write": TaskOverride(description="Shorter")})
    events = await what_if(house, "w", "f", agents={"writer": AgentOverride(model=LARGE)})
    assert calls_made(events) == (4, 0)
    assert [call.origin.execution_id for call in reused(events)] == ["p"]


async def test_what_can_not_be_is_refused(house: WholeRuns) -> None:
    call = next(event for event in await house.events("p") if isinstance(event, ToolCallStarted)).call
    for overrides in (
        Overrides(calls={call: CallOverride(result="43")}),
        Overrides(model="nobody/nothing"),
        Overrides(agents={"stranger": AgentOverride()}),
        Overrides(inputs={"colour": "red"}),
    ):
        wish = what_if_execution("w", "p", overrides, tenant="default")
        with pytest.raises(Invalid) as refused:
            await house.commands.handle(wish, ME)
        assert all(fault.pointer.startswith("/overrides") for fault in refused.value.faults)
    for parent, tenant in (("nobody", "default"), ("p", "other")):
        with pytest.raises(NotFound):
            await house.commands.handle(what_if_execution("w", parent, Overrides(), tenant=tenant), ME)


async def test_a_what_if_is_not_forked(house: WholeRuns) -> None:
    events = await what_if(house, "w")
    assert any(isinstance(event, CallReused) for event in events)
    with pytest.raises(Rejected, match="what-if"):
        await house.fork("f", "w")
