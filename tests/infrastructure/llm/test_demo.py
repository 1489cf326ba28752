"""The built-in `demo/` provider, asked through litellm as every other."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import pytest

from domain.catalog import Model
from tests.infrastructure.llm.test_demo_values import SYSTEM, USER

pytestmark = pytest.mark.usefixtures("runner_home")

MESSAGES: list[dict[str, Any]] = [{"role": "system", "content": SYSTEM}, {"role": "user", "content": USER}]
TOOL: dict[str, Any] = {
    "type": "function",
    "function": {
        "name": "look",
        "description": "Look",
        "parameters": {"type": "object", "properties": {"n": {"type": "integer"}}, "required": ["n"]},
    },
}


def ask(model: str = "demo/small", delay_s: float = 0, **request: Any) -> tuple[Any, list[str]]:
    """The answer, and the pieces that it came in."""
    from infrastructure.llm import demo
    from infrastructure.llm.sending import Request, send

    demo.install(delay_s)
    pieces: list[str] = []
    asked = Request(model=model, **{"messages": MESSAGES, **request})
    return send(Model(name=model), asked, pieces.append), pieces


def test_the_answer_is_about_the_task_and_streams_in_pieces() -> None:
    answer, pieces = ask()
    assert answer.text.startswith("# Service robots")
    assert "Robots sell well." in answer.text
    assert "300 words" in answer.text
    assert len(pieces) > 5
    assert "".join(pieces) == answer.text


def test_the_same_request_is_answered_the_same_and_another_is_not() -> None:
    assert ask()[0] == ask()[0]
    other = [*MESSAGES[:-1], {"role": "user", "content": USER.replace("service robots", "harvest robots")}]
    assert ask(messages=other)[0].text != ask()[0].text


def test_tokens_and_cost_are_counted_under_any_name() -> None:
    for model in ("demo/small", "demo/anything-else"):
        answer, _ = ask(model)
        assert answer.model == model
        assert answer.prompt_tokens > 100
        assert answer.completion_tokens == -(-len(answer.text) // 4)
        expected = answer.prompt_tokens * 1.5e-7 + answer.completion_tokens * 6e-7
        assert answer.cost_usd == pytest.approx(expected)


def test_a_tool_that_is_offered_is_called_with_arguments_of_its_schema() -> None:
    (call,) = ask(tools=[TOOL])[0].tool_calls
    assert call.name == "look"
    assert isinstance(json.loads(call.arguments)["n"], int)
    assert call.id


def test_after_the_tools_have_answered_it_answers() -> None:
    called = {
        "role": "assistant",
        "content": None,
        "tool_calls": [call.as_openai() for call in ask(tools=[TOOL])[0].tool_calls],
    }
    result = {"role": "tool", "tool_call_id": "x", "name": "look", "content": "There are 17."}
    answer, _ = ask(tools=[TOOL], messages=[*MESSAGES, called, result])
    assert not answer.tool_calls
    assert "There are 17." in answer.text


def test_a_schema_is_answered_with_an_instance() -> None:
    schema = {"type": "object", "properties": {"tags": {"type": "array", "items": {"type": "string"}}}}
    answer, _ = ask(response_format={"type": "json_schema", "json_schema": {"name": "A", "schema": schema}})
    assert json.loads(answer.text)["tags"]


def test_a_long_answer_takes_no_longer_for_its_pieces() -> None:
    long = [{"role": "user", "content": "word " * 5_000}]
    begin = time.monotonic()
    _, pieces = ask(messages=long, delay_s=0.001)
    assert len(pieces) <= 60
    assert time.monotonic() > begin


def test_an_answer_holds_nothing_of_the_machine(tmp_path: Path) -> None:
    assert str(tmp_path.parent) not in ask()[0].text
