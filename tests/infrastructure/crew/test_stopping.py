"""Ends that come from outside: cancellation while something hangs, a refused report, a sibling that fails."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING

import pytest

from application.ports import Stopped
from domain.execution import (
    ModelCallCompleted,
    ModelCallStarted,
    Progress,
    StepCompleted,
    StepFailed,
    TaskCompleted,
    TaskFailed,
    TaskStarted,
    ToolCallStarted,
)
from tests.infrastructure.crew.crews import OPENAI, MemoryReporter, assignment, document
from tests.model_server import ModelServer, Turn
from tests.waiting import eventually

if TYPE_CHECKING:
    from infrastructure.crew.engine import CrewAIEngine

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning:crewai")

ONE_TASK = document({"only": {"description": "Say something"}})
ENDS_WITHIN_S = 5.0


async def cancelled(run: asyncio.Task[object]) -> None:
    """Cancel a run, which ends in time."""
    run.cancel()
    done, _ = await asyncio.wait([run], timeout=ENDS_WITHIN_S)
    assert done
    assert run.cancelled()


async def test_a_crew_is_cancelled_while_its_model_hangs(engine: CrewAIEngine, model: ModelServer) -> None:
    model.script(Turn(hangs=True))
    reporter = MemoryReporter()
    run = asyncio.create_task(engine.run(assignment(ONE_TASK, model=OPENAI), reporter))
    await eventually(lambda: model.requests)
    await cancelled(run)
    assert reporter.kinds == ["TaskStarted", "ModelCallStarted"]


async def test_what_comes_after_a_cancellation_is_not_reported(
    engine: CrewAIEngine, model: ModelServer
) -> None:
    model.script(Turn(delay_s=0.3, text="Too late."))
    reporter = MemoryReporter()
    run = asyncio.create_task(engine.run(assignment(ONE_TASK, model=OPENAI), reporter))
    await eventually(lambda: model.requests)
    await cancelled(run)
    assert not engine.is_idle
    await eventually(lambda: engine.is_idle)
    assert reporter.kinds == ["TaskStarted", "ModelCallStarted"]
    assert reporter.pieces == {}


async def test_a_crew_is_cancelled_while_a_tool_works(engine: CrewAIEngine, model: ModelServer) -> None:
    slow = json.dumps({"text": "a" * 50_000 + "!", "pattern": "(a+)+$", "regex": True})
    model.script(Turn(tools=(("text_query", slow),)))
    definition = document({"only": {"description": "Search", "tools": ["text_query"]}})
    reporter = MemoryReporter()
    run = asyncio.create_task(engine.run(assignment(definition, model=OPENAI), reporter))
    await eventually(lambda: reporter.of(ToolCallStarted))
    await cancelled(run)
    before = reporter.kinds
    await eventually(lambda: engine.is_idle)
    assert reporter.kinds == before
    assert before[-1] == "ToolCallStarted"


async def test_a_cancelled_pause_between_two_attempts_ends_at_once(
    engine: CrewAIEngine, model: ModelServer
) -> None:
    model.script(Turn(status=429, retry_after="30"))
    reporter = MemoryReporter()
    run = asyncio.create_task(engine.run(assignment(ONE_TASK, model=OPENAI), reporter))
    await eventually(lambda: "ModelCallFailed" in reporter.kinds)
    await cancelled(run)
    await eventually(lambda: engine.is_idle)
    assert len(model.requests) == 1


@pytest.mark.parametrize(
    "kind",
    [TaskStarted, ModelCallStarted, ModelCallCompleted, ToolCallStarted, TaskCompleted],
    ids=lambda k: k.__name__,
)
async def test_a_refused_report_stops_the_run(engine: CrewAIEngine, kind: type[Progress]) -> None:
    definition = document(
        {"only": {"description": "Add", "tools": ["calculator"]}, "next": {"description": "Go on"}}
    )
    reporter = MemoryReporter(refuse=lambda entry: isinstance(entry, kind))
    with pytest.raises(Stopped):
        await engine.run(assignment(definition), reporter)
    await eventually(lambda: engine.is_idle)
    assert not reporter.of(kind)
    assert not reporter.of(TaskFailed)


async def test_a_crew_that_is_told_to_let_go_reports_every_call_in_flight(
    engine: CrewAIEngine, model: ModelServer
) -> None:
    def answer(request: dict[str, object]) -> Turn:
        return Turn(delay_s=1.5 if "apples" in str(request["messages"]) else 0.3, text="Well.")

    model.answer = answer
    definition = document(
        {
            "slow": {"description": "Speak of apples", "async_execution": True},
            "quick": {"description": "Speak of pears", "async_execution": True, "context": []},
            "both": {"description": "Join", "context": ["quick", "slow"]},
        }
    )
    reporter = MemoryReporter()
    run = asyncio.create_task(engine.run(assignment(definition, model=OPENAI), reporter))
    await eventually(lambda: len(model.requests) == 2)
    reporter.is_draining = True
    with pytest.raises(Stopped) as stopped:
        await run
    assert stopped.value.is_draining
    assert len(reporter.of(ModelCallCompleted)) == 2
    assert not [task for task in reporter.of(TaskStarted) if task.task == "both"]


async def test_a_task_that_takes_too_long_fails_by_its_name(engine: CrewAIEngine, model: ModelServer) -> None:
    model.script(Turn(hangs=True))
    definition = document({"slow": {"description": "Say something", "timeout_s": 1}})
    reporter = MemoryReporter()
    end = await asyncio.wait_for(engine.run(assignment(definition, model=OPENAI), reporter), 60)
    assert isinstance(end, StepFailed)
    assert (end.failure.code, end.failure.task) == ("task_timeout", "slow")
    assert "timeout_s of 1 s" in end.failure.message
    assert [failed.task for failed in reporter.of(TaskFailed)] == ["slow"]


async def test_an_async_sibling_of_a_failed_task_ends_with_the_step(
    engine: CrewAIEngine, model: ModelServer
) -> None:
    def answer(request: dict[str, object]) -> Turn:
        return Turn(hangs=True) if "apples" in str(request["messages"]) else Turn(status=401)

    model.answer = answer
    definition = document(
        {
            "slow": {"description": "Speak of apples", "async_execution": True},
            "wrong": {"description": "Speak of pears", "async_execution": True, "context": []},
            "both": {"description": "Join", "context": ["wrong", "slow"]},
        }
    )
    reporter = MemoryReporter()
    run = asyncio.create_task(engine.run(assignment(definition, model=OPENAI), reporter))
    end = await asyncio.wait_for(run, 60)
    assert isinstance(end, StepFailed)
    assert end.failure.task == "wrong"
    assert [failed.task for failed in reporter.of(TaskFailed)] == ["wrong"]


async def test_a_failed_step_leaves_the_engine_able_to_run_the_next(
    engine: CrewAIEngine, model: ModelServer
) -> None:
    model.script(Turn(status=401))
    assert isinstance(await engine.run(assignment(ONE_TASK, model=OPENAI), MemoryReporter()), StepFailed)
    assert isinstance(await engine.run(assignment(ONE_TASK, model=OPENAI), MemoryReporter()), StepCompleted)
