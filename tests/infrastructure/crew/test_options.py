"""Options of agents, tasks and crews: each does what the document says."""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING, Any

import pytest

from domain.execution import ModelCallStarted, StepCompleted, StepFailed, TaskCompleted, TaskStarted
from infrastructure.crew.rates import RateLimit
from tests.infrastructure.crew.crews import OPENAI, MemoryReporter, assignment, document
from tests.model_server import ModelServer, Turn

if TYPE_CHECKING:
    from infrastructure.crew.engine import CrewAIEngine

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning:crewai")
WRITER = {"role": "Writer", "goal": "Write plainly", "backstory": "A former reporter"}


def guarded(**guardrail: Any) -> Any:
    return document(
        {
            "facts": {"description": "Find facts"},
            "reply": {"description": "Reply", "context": ["facts"], "guardrail": guardrail},
        },
        schemas={"N": {"type": "object", "properties": {"n": {"type": "integer"}}, "required": ["n"]}},
    )


@pytest.mark.parametrize(
    ("guardrail", "wrong", "right", "says"),
    [
        ({"max_words": 2}, "one two three", "one two", "it has 3 words; expected at most 2"),
        ({"min_words": 2}, "one", "one two", "it has 1 words; expected at least 2"),
        ({"matches": "^Dear "}, "Hello you", "Dear you", "does not match the pattern ^Dear"),
        ({"schema": "N"}, '{"n": "x"}', 'So: {"n": 1}', "n: 'x' is not of type 'integer'"),
    ],
)
async def test_an_answer_that_does_not_pass_is_given_again(
    engine: CrewAIEngine, model: ModelServer, guardrail: dict[str, Any], wrong: str, right: str, says: str
) -> None:
    model.script(Turn(text="The facts."), Turn(text=wrong), Turn(text=right))
    reporter = MemoryReporter()
    assert isinstance(
        await engine.run(assignment(guarded(**guardrail), model=OPENAI), reporter), StepCompleted
    )
    assert reporter.of(TaskCompleted)[1].output.text == right
    assert says in model.prompts()[2]
    assert wrong in model.prompts()[2]
    assert "The facts." in model.prompts()[2]


async def test_a_rule_in_words_is_judged_by_the_model(engine: CrewAIEngine, model: ModelServer) -> None:
    bad = json.dumps({"valid": False, "feedback": "It promises a date."})
    good = json.dumps({"valid": True})
    model.script(*[Turn(text=text) for text in ("Facts.", "On Monday.", bad, "Soon.", good)])
    reporter = MemoryReporter()
    rule = guarded(description="Promises no date", max_retries=1)
    assert isinstance(await engine.run(assignment(rule, model=OPENAI), reporter), StepCompleted)
    assert reporter.of(TaskCompleted)[1].output.text == "Soon."
    assert "Promises no date" in model.prompts()[2]
    assert "It promises a date." in model.prompts()[3]
    assert [call.task for call in reporter.of(ModelCallStarted)] == ["facts"] + 4 * ["reply"]


async def test_an_answer_that_never_passes_fails_the_task(engine: CrewAIEngine, model: ModelServer) -> None:
    reporter = MemoryReporter()
    definition = guarded(max_words=1, max_retries=2)
    ended = await engine.run(assignment(definition, model=OPENAI), reporter)
    assert isinstance(ended, StepFailed)
    assert (ended.failure.code, ended.failure.task) == ("guardrail_failed", "reply")
    assert "expected at most 1" in ended.failure.message
    assert len(model.requests) == 1 + 3


async def test_a_pattern_that_would_run_for_ever_is_given_up(
    engine: CrewAIEngine, model: ModelServer
) -> None:
    model.script(Turn(text="Facts."), Turn(text="a" * 5_000 + "!"))
    definition = guarded(matches="(a+)+$", max_retries=0)
    ended = await engine.run(assignment(definition, model=OPENAI), MemoryReporter())
    assert isinstance(ended, StepFailed)
    assert ended.failure.code == "guardrail_failed"


async def test_the_plan_becomes_part_of_the_tasks(engine: CrewAIEngine, model: ModelServer) -> None:
    plans = {"plans": [{"task_number": 2, "plan": "First look, then write."}]}
    model.script(Turn(text=json.dumps(plans)))
    reporter = MemoryReporter()
    definition = document(
        {"one": {"description": "Look"}, "two": {"description": "Write"}},
        steps={"crew": {"crew": {"tasks": ["one", "two"], "planning": True}}},
    )
    assert isinstance(await engine.run(assignment(definition, model=OPENAI), reporter), StepCompleted)
    assert "First look, then write." not in model.prompts()[1]
    assert "First look, then write." in model.prompts()[2]
    assert [call.task for call in reporter.of(ModelCallStarted)] == [None, "one", "two"]


async def test_an_agent_of_the_document_can_be_the_manager(engine: CrewAIEngine, model: ModelServer) -> None:
    work = {"task": "Count", "context": "apples", "coworker": "writer"}
    nobody = {"task": "Count", "context": "apples", "coworker": "Santa"}
    model.script(
        Turn(tools=(("delegate_work_to_coworker", json.dumps(nobody)),)),
        Turn(tools=(("delegate_work_to_coworker", json.dumps(work)),)),
        Turn(text="Three apples."),
        Turn(text="It is three."),
    )
    definition = document(
        {"only": {"description": "Count apples"}},
        agents={"boss": {"role": "The boss", "goal": "Lead", "backstory": "Knows"}},
        steps={"crew": {"crew": {"tasks": ["only"], "process": "hierarchical", "manager_agent": "boss"}}},
    )
    reporter = MemoryReporter()
    assert isinstance(await engine.run(assignment(definition, model=OPENAI), reporter), StepCompleted)
    assert reporter.of(TaskCompleted)[0].output.text == "It is three."
    assert [start.agent for start in reporter.of(TaskStarted)] == ["boss"]
    assert [call.agent for call in reporter.of(ModelCallStarted)] == ["boss", "boss", "writer", "boss"]
    offered = model.requests[0]["tools"][0]["function"]["parameters"]["properties"]["coworker"]
    assert offered == {"type": "string", "enum": ["Writer"]}
    assert "must be one of the following" in str(model.requests[1]["messages"][-1])
    assert "apples" in str(model.requests[2]["messages"])


async def test_an_agent_that_takes_too_long_fails_its_task(engine: CrewAIEngine, model: ModelServer) -> None:
    model.script(Turn(hangs=True))
    definition = document(
        {"only": {"description": "Wait"}}, agents={"writer": WRITER | {"max_execution_time": 1}}
    )
    ended = await engine.run(assignment(definition, model=OPENAI), MemoryReporter())
    assert isinstance(ended, StepFailed)
    assert (ended.failure.code, ended.failure.task) == ("timeout", "only")
    assert "max_execution_time of 1 s" in ended.failure.message


def test_calls_beyond_the_rate_wait_for_the_first_to_be_a_window_old() -> None:
    rate, waits = RateLimit(2, window_s=0.2), list[float]()

    def pause(seconds: float) -> None:
        waits.append(seconds)
        time.sleep(seconds)

    for _ in range(2):
        rate.take(pause)
    assert waits == []
    rate.take(pause)
    assert 0 < sum(waits) <= 0.25


async def test_a_rate_holds_for_all_calls_of_an_agent(
    engine: CrewAIEngine, model: ModelServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    from infrastructure.crew import agents

    made: list[RateLimit] = []

    def rate(calls: int) -> RateLimit:
        made.append(RateLimit(calls, window_s=0.3))
        return made[-1]

    monkeypatch.setattr(agents, "RateLimit", rate)
    definition = document(
        {"one": {"description": "Look"}, "two": {"description": "Write"}, "three": {"description": "Read"}},
        agents={"writer": WRITER | {"max_rpm": 1}},
        steps={"crew": {"crew": {"tasks": ["one", "two", "three"], "max_rpm": 2}}},
    )
    begin = time.monotonic()
    assert isinstance(await engine.run(assignment(definition, model=OPENAI), MemoryReporter()), StepCompleted)
    assert time.monotonic() - begin >= 0.6
