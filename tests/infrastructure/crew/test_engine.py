"""Whole crews on the built-in demo model: order, context, inputs, tools, schemas."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from domain.execution import (
    ModelCallCompleted,
    ModelCallStarted,
    StepCompleted,
    StepFailed,
    TaskCompleted,
    TaskFailed,
    TaskStarted,
    ToolCallCompleted,
    ToolCallStarted,
)
from infrastructure.crew.noop import NoopEngine
from tests.infrastructure.crew.crews import MemoryReporter, assignment, document, three_tasks

if TYPE_CHECKING:
    from infrastructure.crew.engine import CrewAIEngine

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning:crewai")

TRIAGE = {
    "type": "object",
    "properties": {
        "category": {"type": "string", "enum": ["billing", "technical"]},
        "score": {"type": "number", "minimum": 0, "maximum": 1},
    },
    "required": ["category", "score"],
    "additionalProperties": False,
}


async def test_three_tasks_run_one_after_another_and_every_call_is_reported(engine: CrewAIEngine) -> None:
    reporter = MemoryReporter()
    end = await engine.run(assignment(three_tasks(), inputs={"industry": "robotics"}), reporter)
    assert end == StepCompleted(step="crew", attempt=3)
    assert reporter.kinds == ["TaskStarted", "ModelCallStarted", "ModelCallCompleted", "TaskCompleted"] * 3
    assert [started.task for started in reporter.of(TaskStarted)] == ["research", "draft", "edit"]
    assert all((entry.step, entry.attempt) == ("crew", 3) for entry in reporter.entries)


async def test_a_call_has_its_request_answer_tokens_and_cost(engine: CrewAIEngine) -> None:
    reporter = MemoryReporter()
    await engine.run(assignment(three_tasks(), inputs={"industry": "robotics"}), reporter)
    started, done = reporter.of(ModelCallStarted)[0], reporter.of(ModelCallCompleted)[0]
    assert "Find three developments in robotics" in started.request.text
    assert (started.task, started.agent, started.model) == ("research", "writer", "demo/small")
    assert started.call == done.call
    assert "robotics" in done.response.text
    assert "".join(reporter.pieces[done.call]) == done.response.text
    assert done.prompt_tokens > 0
    assert done.cost_usd == pytest.approx(done.prompt_tokens * 1.5e-7 + done.completion_tokens * 6e-7)


async def test_a_task_sees_the_outputs_of_its_context_and_no_others(engine: CrewAIEngine) -> None:
    definition = document(
        {
            "first": {"description": "Speak of apples"},
            "second": {"description": "Speak of pears", "context": []},
            "third": {"description": "Join both", "context": ["second"]},
        }
    )
    reporter = MemoryReporter()
    await engine.run(assignment(definition), reporter)
    second, third = (started.request.text for started in reporter.of(ModelCallStarted)[1:])
    assert "apples" not in second
    assert "pears" in third
    assert "apples" not in third


async def test_a_task_without_a_context_sees_all_that_came_before(engine: CrewAIEngine) -> None:
    definition = document({"first": {"description": "Speak of apples"}, "second": {"description": "Go on"}})
    reporter = MemoryReporter()
    await engine.run(assignment(definition), reporter)
    assert "apples" in reporter.of(ModelCallStarted)[1].request.text


async def test_outputs_of_earlier_steps_come_as_context(engine: CrewAIEngine) -> None:
    definition = document(
        {"research": {"description": "Find"}, "write": {"description": "Write", "context": ["research"]}},
        steps={
            "one": {"crew": {"tasks": ["research"]}},
            "two": {"crew": {"tasks": ["write"]}, "after": ["one"]},
        },
    )
    reporter = MemoryReporter()
    await engine.run(assignment(definition, step="two", outputs={"research": "The moon is near."}), reporter)
    assert [started.task for started in reporter.of(TaskStarted)] == ["write"]
    assert "The moon is near." in reporter.of(ModelCallStarted)[0].request.text


async def test_inputs_are_put_in_once_and_never_read_as_placeholders(engine: CrewAIEngine) -> None:
    definition = document(
        {"only": {"description": "Say {a} and {b}"}},
        inputs={"a": {"type": "string"}, "b": {"type": "object"}},
    )
    reporter = MemoryReporter()
    await engine.run(assignment(definition, inputs={"a": "{b} {unknown} 100%", "b": {"x": [1]}}), reporter)
    assert json.loads(reporter.of(ModelCallStarted)[0].request.text)[-1]["content"].startswith(
        '\nCurrent Task: Say {b} {unknown} 100% and {"x":[1]}\n'
    )


async def test_an_agent_uses_its_tools_before_it_answers(engine: CrewAIEngine, files: Path) -> None:
    (files / "notes.txt").write_text("hello")
    definition = document({"only": {"description": "Look around", "tools": ["read_file", "calculator"]}})
    reporter = MemoryReporter()
    await engine.run(assignment(definition), reporter)
    assert [(call.tool, call.agent) for call in reporter.of(ToolCallStarted)] == [
        ("read_file", "writer"),
        ("calculator", "writer"),
    ]
    assert [call.result.text for call in reporter.of(ToolCallCompleted)] == ["notes.txt", "71.964"]
    assert "notes.txt" in reporter.of(TaskCompleted)[0].output.text
    assert set(reporter.unawaited) == {"TaskStarted", "ModelCallCompleted", "TaskCompleted"}


async def test_a_schema_is_answered_with_an_instance_of_it(engine: CrewAIEngine) -> None:
    definition = document(
        {"only": {"description": "Triage the ticket", "output_schema": "Triage"}}, schemas={"Triage": TRIAGE}
    )
    reporter = MemoryReporter()
    await engine.run(assignment(definition), reporter)
    output = reporter.of(TaskCompleted)[0].output
    assert isinstance(output.structured, dict)
    assert set(output.structured) == {"category", "score"}
    assert json.loads(output.text) == output.structured


async def test_tools_and_a_schema_go_together(engine: CrewAIEngine) -> None:
    definition = document(
        {"only": {"description": "Triage", "output_schema": "Triage", "tools": ["calculator"]}},
        schemas={"Triage": TRIAGE},
    )
    reporter = MemoryReporter()
    await engine.run(assignment(definition), reporter)
    assert len(reporter.of(ToolCallCompleted)) == 1
    assert isinstance(reporter.of(TaskCompleted)[0].output.structured, dict)


async def test_async_tasks_of_one_agent_run_side_by_side(engine: CrewAIEngine) -> None:
    definition = document(
        {
            "left": {"description": "Speak of apples", "async_execution": True, "tools": ["calculator"]},
            "right": {
                "description": "Speak of pears",
                "async_execution": True,
                "tools": ["calculator"],
                "context": [],
            },
            "both": {"description": "Join", "context": ["left", "right"]},
        }
    )
    reporter = MemoryReporter()
    assert isinstance(await engine.run(assignment(definition), reporter), StepCompleted)
    assert [entry.task for entry in reporter.entries if isinstance(entry, TaskStarted)][:2] == [
        "left",
        "right",
    ]
    assert reporter.kinds[:2] == ["TaskStarted", "TaskStarted"]
    last = reporter.of(ModelCallStarted)[-1].request.text
    assert "apples" in last
    assert "pears" in last


async def test_the_same_crew_twice_makes_the_same_calls(engine: CrewAIEngine) -> None:
    calls = []
    for _ in range(2):
        reporter = MemoryReporter()
        await engine.run(assignment(three_tasks(), inputs={"industry": "robotics"}), reporter)
        calls.append([(done.call, done.response.digest) for done in reporter.of(ModelCallCompleted)])
    assert calls[0] == calls[1]


async def test_two_crews_at_once_do_not_mix(engine: CrewAIEngine) -> None:
    industries = ["robotics", "farming", "shipping", "banking"]
    reporters = [MemoryReporter() for _ in industries]
    await asyncio.gather(
        *(
            engine.run(assignment(three_tasks(), inputs={"industry": industry}), reporter)
            for industry, reporter in zip(industries, reporters, strict=True)
        )
    )
    for industry, reporter in zip(industries, reporters, strict=True):
        assert len(reporter.entries) == 12
        assert industry in reporter.of(ModelCallStarted)[0].request.text
        assert not any(other in str(reporter.entries) for other in industries if other != industry)


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({"model": "nobody/model"}, "unknown_provider"),
        ({"tools": ["time_machine"]}, "unknown_tool"),
    ],
)
async def test_what_can_not_be_built_fails_the_step_before_any_call(
    engine: CrewAIEngine, change: dict[str, object], code: str
) -> None:
    agent = {"role": "Writer", "goal": "Write", "backstory": "None"} | change
    definition = document({"only": {"description": "Write"}}, agents={"writer": agent})
    reporter = MemoryReporter()
    end = await engine.run(assignment(definition), reporter)
    assert isinstance(end, StepFailed)
    assert (end.failure.code, end.failure.task) == (code, "only")
    assert reporter.entries == []


async def test_a_schema_that_is_none_fails_the_step(engine: CrewAIEngine) -> None:
    definition = document(
        {"only": {"description": "W", "output_schema": "S"}}, schemas={"S": {"type": "banana"}}
    )
    end = await engine.run(assignment(definition), MemoryReporter())
    assert isinstance(end, StepFailed)
    assert end.failure.code == "unknown_schema"


def files_in(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*") if path.is_file()]


async def test_nothing_is_written_outside_of_the_runners_home(
    engine: CrewAIEngine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    await engine.run(assignment(three_tasks(), inputs={"industry": "robotics"}), MemoryReporter())
    assert files_in(tmp_path) == []


async def test_the_noop_engine_reports_each_task_and_calls_nothing() -> None:
    reporter = MemoryReporter()
    end = await NoopEngine().run(assignment(three_tasks()), reporter)
    assert end == StepCompleted(step="crew", attempt=3)
    assert reporter.kinds == ["TaskStarted", "TaskCompleted"] * 3
    assert not reporter.of(TaskFailed)
