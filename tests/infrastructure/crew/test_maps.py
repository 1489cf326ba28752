"""Items of a map are crews of their own to CrewAI: planned, managed, with their own context and schema."""

from __future__ import annotations

import json
from typing import Any

from domain.catalog import Model, PlantEntry
from domain.execution import ExecutionCompleted, ModelCallStarted
from infrastructure.crew.engine import CrewAIEngine
from tests.application.house import ME
from tests.infrastructure.crew.crews import OPENAI, document
from tests.infrastructure.crew.whole_runs import WholeRuns
from tests.model_server import ModelServer, Turn

SCORE = {"type": "object", "properties": {"score": {"type": "number"}}, "required": ["score"]}
CREW = {"tasks": ["look", "judge"], "process": "hierarchical", "manager_model": OPENAI, "planning": True}


def answer(request: dict[str, Any]) -> Turn:
    asked = json.dumps(request["messages"])
    if "You plan the work" in asked:
        return Turn(text=json.dumps({"plans": [{"task_number": 1, "plan": "Look twice."}]}))
    if "delegate_work_to_coworker" in json.dumps(request.get("tools", ())) and "tool" not in asked:
        work = {"task": "Look", "context": "it", "coworker": "Writer"}
        return Turn(tools=(("delegate_work_to_coworker", json.dumps(work)),))
    if "Judge" in asked:
        return Turn(text=json.dumps({"score": 2 if "cy" in asked else 1}))
    return Turn(text="Final Answer: seen")


async def test_items_are_planned_and_managed_crews_whose_answers_come_in_order(
    engine: CrewAIEngine, model: ModelServer
) -> None:
    """Two items are alike to the letter, and still have calls of their own."""
    model.answer = answer
    house = WholeRuns()
    await house.commands.handle(PlantEntry(kind="models", entry=Model(name=OPENAI, default=True)), ME)
    definition = document(
        {
            "look": {"description": "Look at {item}"},
            "judge": {"description": "Judge {item}", "context": ["look"], "output_schema": "Score"},
        },
        schemas={"Score": SCORE},
        steps={"each": {"map": {"over": "['ada', 'cy', 'ada']", "crew": CREW, "max_parallel": 2}}},
    )
    await house.start("x", definition)
    async with house.running(house.dispatcher().run(), house.runner("r", engine).run()):
        events = await house.run("x")
    assert isinstance(ended := events[-1], ExecutionCompleted), ended
    assert ended.output.structured == [{"score": 1}, {"score": 2}, {"score": 1}]
    calls = [event for event in events if isinstance(event, ModelCallStarted)]
    assert len({call.call for call in calls}) == len(calls) == len(model.requests)
    planned = [call for call in calls if call.task is None]
    assert sorted(call.step for call in planned) == ["each--0", "each--1", "each--2"]
