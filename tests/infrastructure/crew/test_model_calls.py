"""Crews on a scripted model behind litellm's real `openai/` provider: answers, faults, retries, bounds."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from domain.catalog import Model
from domain.execution import (
    Failure,
    ModelCallCompleted,
    ModelCallFailed,
    ModelCallStarted,
    StepCompleted,
    StepFailed,
    TaskCompleted,
    TaskFailed,
    ToolCallCompleted,
    ToolCallFailed,
)
from tests.infrastructure.crew.conftest import SECRET
from tests.infrastructure.crew.crews import OPENAI, MemoryReporter, assignment, document
from tests.model_server import ModelServer, Turn

if TYPE_CHECKING:
    from infrastructure.crew.engine import CrewAIEngine

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning:crewai")

ONE_TASK = document({"only": {"description": "Say something about PROMPT-WORDS"}})
SUM = document({"only": {"description": "Add", "tools": ["calculator"]}})
TRIAGE = document(
    {"only": {"description": "Triage", "output_schema": "Triage"}},
    schemas={"Triage": {"type": "object", "properties": {"n": {"type": "integer"}}, "required": ["n"]}},
)


async def failure_of(engine: CrewAIEngine, reporter: MemoryReporter, entry: Model | None = None) -> Failure:
    """Run the one task, which fails; the step, its task and its last call all say so."""
    end = await engine.run(assignment(ONE_TASK, model=OPENAI, entry=entry), reporter)
    assert isinstance(end, StepFailed)
    assert reporter.of(TaskFailed)[0].failure == end.failure
    assert SECRET not in str(reporter.entries)
    assert "PROMPT-WORDS" not in str(
        [entry for entry in reporter.entries if not isinstance(entry, ModelCallStarted)]
    )
    return end.failure


async def test_an_answer_is_streamed_recorded_and_counted(engine: CrewAIEngine, model: ModelServer) -> None:
    model.script(Turn(text="The moon is near.", prompt_tokens=100, completion_tokens=20))
    entry = Model(
        name=OPENAI, temperature=0.5, max_tokens=99, input_cost_per_token=0.01, output_cost_per_token=0.1
    )
    reporter = MemoryReporter()
    assert isinstance(await engine.run(assignment(ONE_TASK, entry=entry), reporter), StepCompleted)
    (done,) = reporter.of(ModelCallCompleted)
    assert done.response.text == "The moon is near."
    assert (done.prompt_tokens, done.completion_tokens) == (100, 20)
    assert done.cost_usd == pytest.approx(3.0)
    assert "".join(reporter.pieces[done.call]) == "The moon is near."
    assert len(reporter.pieces[done.call]) > 1
    (sent,) = model.requests
    assert (sent["model"], sent["temperature"], sent["max_tokens"]) == ("scripted", 0.5, 99)


async def test_a_model_of_litellms_price_map_costs_what_it_says(
    engine: CrewAIEngine, model: ModelServer
) -> None:
    model.script(Turn(prompt_tokens=1_000_000, completion_tokens=0))
    reporter = MemoryReporter()
    await engine.run(assignment(ONE_TASK, model="openai/gpt-4o-mini"), reporter)
    assert reporter.of(ModelCallCompleted)[0].cost_usd == pytest.approx(0.15)


async def test_a_model_without_a_price_costs_nothing_and_without_usage_is_estimated(
    engine: CrewAIEngine, model: ModelServer
) -> None:
    model.script(Turn(counts=False))
    reporter = MemoryReporter()
    await engine.run(assignment(ONE_TASK, model=OPENAI), reporter)
    (done,) = reporter.of(ModelCallCompleted)
    assert done.cost_usd == 0
    assert done.prompt_tokens > 10
    assert done.completion_tokens > 0


async def test_a_tool_call_is_made_and_its_result_goes_back(engine: CrewAIEngine, model: ModelServer) -> None:
    model.script(Turn(tools=(("calculator", '{"expression": "6 * 7"}'),)), Turn(text="It is 42."))
    reporter = MemoryReporter()
    assert isinstance(await engine.run(assignment(SUM, model=OPENAI), reporter), StepCompleted)
    assert reporter.of(ToolCallCompleted)[0].result.text == "42"
    assert model.requests[1]["messages"][-1]["content"] == "42"
    offered = model.requests[0]["tools"][0]["function"]
    assert offered["parameters"]["required"] == ["expression"]
    assert "strict" not in offered
    assert reporter.of(TaskCompleted)[0].output.text == "It is 42."


async def test_tool_calls_side_by_side_are_told_apart(engine: CrewAIEngine, model: ModelServer) -> None:
    same, other = ("calculator", '{"expression": "1+1"}'), ("calculator", '{"expression": "2+2"}')
    model.script(Turn(tools=(same, same, other)), Turn(text="Done."))
    reporter = MemoryReporter()
    await engine.run(assignment(SUM, model=OPENAI), reporter)
    calls = sorted(call.call for call in reporter.of(ToolCallCompleted))
    assert len(set(calls)) == 3
    assert sorted(call.rsplit(":", 1)[1] for call in calls) == ["1", "1", "2"]


async def test_a_tools_failure_is_an_answer_to_the_agent(engine: CrewAIEngine, model: ModelServer) -> None:
    model.script(
        Turn(tools=(("calculator", '{"expression": 7}'),)),
        Turn(tools=(("calculator", '{"expression": "1/0"}'),)),
        Turn(text="I could not."),
    )
    reporter = MemoryReporter()
    assert isinstance(await engine.run(assignment(SUM, model=OPENAI), reporter), StepCompleted)
    wrong, impossible = reporter.of(ToolCallFailed)
    assert "expression: 7 is not of type 'string'" in wrong.failure.message
    assert "division by zero" in impossible.failure.message
    assert "division by zero" in model.requests[2]["messages"][-1]["content"]


@pytest.mark.parametrize(("name", "arguments"), [("nothing_such", "{}"), ("calculator", "{not json")])
async def test_a_call_that_names_nothing_or_is_broken_does_not_end_the_step(
    engine: CrewAIEngine, model: ModelServer, name: str, arguments: str
) -> None:
    model.script(Turn(tools=((name, arguments),)), Turn(text="Never mind."))
    reporter = MemoryReporter()
    assert isinstance(await engine.run(assignment(SUM, model=OPENAI), reporter), StepCompleted)


async def test_a_busy_provider_is_asked_again_each_time_as_a_call_of_its_own(
    engine: CrewAIEngine, model: ModelServer
) -> None:
    model.script(Turn(status=429, code="rate_limit_exceeded"), Turn(status=503), Turn(text="At last."))
    reporter = MemoryReporter()
    assert isinstance(await engine.run(assignment(ONE_TASK, model=OPENAI), reporter), StepCompleted)
    assert reporter.kinds[1:7] == ["ModelCallStarted", "ModelCallFailed"] * 2 + [
        "ModelCallStarted",
        "ModelCallCompleted",
    ]
    assert [failed.failure.code for failed in reporter.of(ModelCallFailed)] == ["rate_limited", "unavailable"]
    assert len({started.call for started in reporter.of(ModelCallStarted)}) == 1
    assert len(model.requests) == 3


async def test_a_provider_that_stays_busy_fails_the_step(engine: CrewAIEngine, model: ModelServer) -> None:
    model.answer = lambda _: Turn(status=429, code="rate_limit_exceeded")
    failure = await failure_of(engine, MemoryReporter())
    assert failure.code == "rate_limited"
    assert "(429, rate_limit_exceeded)" in failure.message
    assert len(model.requests) == 4


@pytest.mark.parametrize(
    ("turn", "code"),
    [
        (Turn(status=401, code="invalid_api_key", message=f"Incorrect API key: {SECRET}"), "auth"),
        (Turn(status=403), "auth"),
        (Turn(status=404, code="model_not_found"), "model_not_found"),
        (Turn(status=400, message="bad PROMPT-WORDS"), "bad_request"),
        (Turn(status=429, code="insufficient_quota"), "quota_exceeded"),
        (Turn(text=" "), "empty_answer"),
    ],
)
async def test_what_will_not_work_later_is_tried_once(
    engine: CrewAIEngine, model: ModelServer, turn: Turn, code: str
) -> None:
    model.answer = lambda _: turn
    failure = await failure_of(engine, MemoryReporter())
    assert failure.code == code
    assert failure.message.startswith(OPENAI)
    assert len(model.requests) == 1


async def test_no_key_is_said_to_be_missing(engine: CrewAIEngine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    failure = await failure_of(engine, MemoryReporter())
    assert failure.code == "auth"
    assert "OPENAI_API_KEY" in failure.message


async def test_a_provider_that_is_not_there_is_unavailable(
    engine: CrewAIEngine, model: ModelServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPENAI_API_BASE", "http://127.0.0.1:1/v1")
    assert (await failure_of(engine, MemoryReporter())).code == "unavailable"


async def test_a_model_that_does_not_answer_in_its_time_has_timed_out(
    engine: CrewAIEngine, model: ModelServer
) -> None:
    model.script(Turn(hangs=True))
    assert (await failure_of(engine, MemoryReporter(), Model(name=OPENAI, timeout_s=1))).code == "timeout"


async def test_a_prompt_that_is_too_long_is_said_to_be(engine: CrewAIEngine, model: ModelServer) -> None:
    message = "This model's maximum context length is 8192 tokens."
    model.answer = lambda _: Turn(status=400, code="context_length_exceeded", message=message)
    assert (await failure_of(engine, MemoryReporter())).code == "context_window"


async def test_a_model_without_tools_is_told_about_them_in_the_prompt(
    engine: CrewAIEngine, model: ModelServer
) -> None:
    model.script(
        Turn(status=400, message="scripted does not support tools"),
        Turn(text='Thought: add\nAction: calculator\nAction Input: {"expression": "6*7"}'),
        Turn(text="Thought: I know\nFinal Answer: 42"),
    )
    reporter = MemoryReporter()
    assert isinstance(await engine.run(assignment(SUM, model=OPENAI), reporter), StepCompleted)
    assert reporter.of(ToolCallCompleted)[0].result.text == "42"
    assert reporter.of(TaskCompleted)[0].output.text == "42"


async def test_an_answer_that_is_no_instance_is_asked_for_again_with_the_fault(
    engine: CrewAIEngine, model: ModelServer
) -> None:
    model.script(Turn(text='{"n": "many"}'), Turn(text='Here it is: {"n": 3}'))
    reporter = MemoryReporter()
    assert isinstance(await engine.run(assignment(TRIAGE, model=OPENAI), reporter), StepCompleted)
    assert reporter.of(TaskCompleted)[0].output.structured == {"n": 3}
    assert "n: 'many' is not of type 'integer'" in model.prompts()[1]
    sent = model.requests[0]["response_format"]["json_schema"]
    assert (sent["name"], sent["schema"]["required"]) == ("Triage", ["n"])


@pytest.mark.parametrize("text", ["no json at all", '{"n": NaN}', '{"n": 99999999999999999999}', "[1, 2]"])
async def test_no_instance_after_all_fails_the_task(
    engine: CrewAIEngine, model: ModelServer, text: str
) -> None:
    model.answer = lambda _: Turn(text=text)
    end = await engine.run(assignment(TRIAGE, model=OPENAI), MemoryReporter())
    assert isinstance(end, StepFailed)
    assert end.failure.code == "output_invalid"


async def test_a_wrong_instance_of_an_agent_with_tools_is_mended_too(
    engine: CrewAIEngine, model: ModelServer
) -> None:
    definition = document(
        {"only": {"description": "Triage", "output_schema": "Triage", "tools": ["calculator"]}},
        schemas={"Triage": {"type": "object", "properties": {"n": {"type": "integer"}}, "required": ["n"]}},
    )
    model.script(Turn(text='{"n": "many"}'), Turn(text='{"n": 3}'))
    reporter = MemoryReporter()
    assert isinstance(await engine.run(assignment(definition, model=OPENAI), reporter), StepCompleted)
    assert reporter.of(TaskCompleted)[0].output.structured == {"n": 3}


async def test_an_answer_beyond_the_bound_fails_its_task(engine: CrewAIEngine, model: ModelServer) -> None:
    model.script(Turn(text="a" * (2**24 + 1)))
    reporter = MemoryReporter()
    failure = await failure_of(engine, reporter)
    assert failure.code == "answer_too_large"
    assert "16777216" in failure.message
    assert reporter.of(ModelCallCompleted) == []


async def test_what_a_database_can_not_store_is_replaced(engine: CrewAIEngine, model: ModelServer) -> None:
    model.script(Turn(text="a\0b"))
    reporter = MemoryReporter()
    await engine.run(assignment(ONE_TASK, model=OPENAI), reporter)
    assert reporter.of(TaskCompleted)[0].output.text == "a\ufffdb"
    assert "\0" not in json.dumps(reporter.of(ModelCallCompleted)[0].response.text)


async def test_an_agent_that_calls_tools_for_ever_has_to_answer(
    engine: CrewAIEngine, model: ModelServer
) -> None:
    agent = {"role": "Writer", "goal": "Write", "backstory": "None", "tools": ["calculator"], "max_iter": 3}
    definition = document({"only": {"description": "Add"}}, agents={"writer": agent})
    model.answer = lambda request: (
        Turn(tools=(("calculator", '{"expression": "1+1"}'),)) if request.get("tools") else Turn(text="Two.")
    )
    reporter = MemoryReporter()
    assert isinstance(await engine.run(assignment(definition, model=OPENAI), reporter), StepCompleted)
    assert reporter.of(TaskCompleted)[0].output.text == "Two."
    assert len(model.requests) <= 5
