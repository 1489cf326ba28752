"""Instances of an output_schema that are large: whole up to the bound, a clear failure above it."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from typing import TYPE_CHECKING, Any

import pytest

from domain.catalog import Model, PlantEntry
from domain.definition import Definition
from domain.execution import (
    ExecutionCompleted,
    ExecutionFailed,
    RetryExecution,
    StepStarted,
    TaskCompleted,
    TaskFailed,
)
from infrastructure.crew.contents import MAX_ENCODED_BYTES
from tests.application.house import ME
from tests.infrastructure.crew.crews import document
from tests.infrastructure.crew.whole_runs import WholeRuns
from tests.model_server import ModelServer, Turn

if TYPE_CHECKING:
    from infrastructure.crew.engine import CrewAIEngine

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning:crewai")
MODEL = "openai/scripted"
REPORT = {"type": "object", "properties": {"body": {"type": "string"}}, "required": ["body"]}


def crew() -> Definition:
    agent = {"role": "Writer", "goal": "Write plainly", "backstory": "A former reporter", "model": MODEL}
    tasks: dict[str, dict[str, Any]] = {"only": {"description": "Report", "output_schema": "Report"}}
    return document(tasks, agents={"writer": agent}, schemas={"Report": REPORT})


@pytest.fixture
async def house(engine: CrewAIEngine) -> AsyncIterator[WholeRuns]:
    house = WholeRuns()
    await house.commands.handle(PlantEntry(kind="models", entry=Model(name=MODEL)), ME)
    async with house.running(house.dispatcher().run(), house.runner("r", engine).run()):
        yield house


def instance_of(size_bytes: int) -> dict[str, str]:
    return {"body": "ab c" * (size_bytes // 4)}


@pytest.mark.parametrize("size_bytes", [120_000, 220_000])
async def test_an_instance_below_the_bound_is_whole_in_the_output(
    house: WholeRuns, model: ModelServer, size_bytes: int
) -> None:
    instance = instance_of(size_bytes)
    model.answer = lambda _: Turn(text=json.dumps(instance))
    await house.start("x", crew())
    *_, end = await house.run("x")
    assert isinstance(end, ExecutionCompleted)
    assert end.output.structured == instance
    assert end.output.digest  # its text is in the content store


async def test_an_instance_above_the_bound_fails_with_what_it_is_and_the_bound(
    house: WholeRuns, model: ModelServer
) -> None:
    model.answer = lambda _: Turn(text=json.dumps(instance_of(300_000)))
    await house.start("x", crew())
    events = await house.run("x")
    assert isinstance(end := events[-1], ExecutionFailed)
    assert end.failure.code == "output_too_large"
    assert end.failure.message.startswith("the instance in the output of 'only' has 30")
    assert end.failure.message.endswith(f" bytes; the bound is {MAX_ENCODED_BYTES}")
    assert len([event for event in events if isinstance(event, StepStarted)]) == 1
    assert [event.failure for event in events if isinstance(event, TaskFailed)] == [end.failure]
    assert not any(isinstance(event, TaskCompleted) for event in events)
    await house.commands.handle(RetryExecution(execution_id="x"), ME)
    events = await house.run("x")
    assert isinstance(events[-1], ExecutionFailed)
    assert len(model.requests) == 1  # the journal has the answer
