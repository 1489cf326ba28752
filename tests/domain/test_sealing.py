"""Which fields of events are content: every field is classified, and blanks leave an event of its type."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from domain.definition import (
    Agent,
    Approval,
    Concurrency,
    Crew,
    Definition,
    Guardrail,
    Map,
    Route,
    Router,
    Signal,
    Step,
    Task,
)
from domain.execution import (
    EXECUTION,
    Content,
    Edit,
    ExecutionRequested,
    Failure,
    ForkedFrom,
    ModelCallStarted,
    Origin,
    RouteChosen,
    StepSuspended,
    TaskFailed,
    Wait,
)
from domain.execution.sealing import CONTENT, SHAPE, blanked
from domain.message import Event, tag_of
from domain.registry import decoded
from domain.steps import ChildWorkflow, Delay
from tests.domain.examples import blog

WORD = "Zwetschgenröster"


@pytest.mark.parametrize("event", EXECUTION.events, ids=tag_of)
def test_every_field_is_named_as_content_or_as_shape(event: type[Event]) -> None:
    content = CONTENT.get(event, {})
    fields = {field.encode_name for field in msgspec.structs.fields(event)}
    assert content.keys() <= fields
    unnamed = fields - content.keys() - SHAPE
    assert not unnamed, f"name {unnamed} in domain/execution/sealing.py: content (CONTENT) or shape (SHAPE)?"


FIELDS: dict[type[msgspec.Struct], str] = {
    Definition: "name agents tasks description inputs steps limits retry schemas isolation queue priority "
    "concurrency",
    Agent: "role goal backstory model tools max_iter max_rpm max_execution_time allow_delegation "
    "unknown_outcome",
    Task: "description expected_output agent context tools output_schema async_execution guardrail "
    "human_input timeout_s",
    Guardrail: "description min_words max_words matches schema max_retries",
    Concurrency: "limit key",
    Step: "crew router approval signal wait map workflow after",
    Crew: "tasks process manager_agent manager_model planning planning_model max_rpm",
    Router: "routes otherwise",
    Route: "when then",
    Approval: "message show approvers approvals require_comment on_reject timeout_s on_timeout",
    Map: "crew max_parallel on_failure over tasks workflow",
    Delay: "for_s until",
    Signal: "name payload_schema",
    ChildWorkflow: "workflow_id workflow_version inputs budget timeout_s on_failure on_cancel",
}


@pytest.mark.parametrize("part", FIELDS, ids=lambda part: part.__name__)
def test_every_field_of_a_document_was_thought_of(part: type[msgspec.Struct]) -> None:
    """A new one: blank it in `sealing.skeleton` where it holds what a person wrote, and name it above."""
    assert set(part.__struct_fields__) == set(FIELDS[part].split())


def shown(event: Event) -> Any:
    """The event as it reads with its content gone."""
    body = blanked(tag_of(event), msgspec.json.encode(event))
    assert body is not None
    assert WORD.encode() not in body
    return decoded(tag_of(event), body, 1)


def test_a_document_keeps_its_graph_and_loses_its_words() -> None:
    definition = Definition(
        name=WORD,
        description=WORD,
        inputs={"who": {"type": "string", "default": WORD}},
        agents={"cook": Agent(role=WORD, goal=WORD, backstory=WORD, model="demo/model")},
        tasks={
            "stew": Task(
                description=WORD, expected_output=WORD, agent="cook", guardrail=Guardrail(description=WORD)
            )
        },
        steps={
            "route": Step(router=Router(routes=(Route(when=f"inputs.who == '{WORD}'", then="gate"),))),
            "gate": Step(approval=Approval(message=WORD, approvers=(WORD,))),
        },
    )
    event = ExecutionRequested(name=WORD, definition=definition, inputs={"who": WORD}, models={})
    left = shown(event)
    assert list(left.definition.graph) == ["route", "gate"]
    assert left.definition.steps["route"].targets == ("gate",)
    assert left.definition.agents["cook"].model == "demo/model"
    assert left.inputs == {}


def test_a_text_keeps_its_size_and_loses_its_digest() -> None:
    event = ModelCallStarted(
        step="s", attempt=1, call="c", model="demo/model", request=Content("d" * 64, 17, WORD)
    )
    assert shown(event).request == Content("", 17, "")


def test_a_failure_keeps_its_code() -> None:
    event = TaskFailed(step="s", attempt=1, task="t", failure=Failure("refused", WORD, "t"), duration_ms=1)
    assert shown(event).failure == Failure("refused", "", "t")


def test_a_wait_keeps_what_ends_it() -> None:
    event = StepSuspended(step="s", attempt=1, wait=Wait("human_input", "t", WORD, for_s=5))
    assert shown(event).wait == Wait("human_input", "t", "", for_s=5)


def test_a_fork_keeps_where_it_is_from_and_loses_what_was_edited_and_said() -> None:
    edit = Edit(Origin("p", 7, "c"), WORD)
    past = ForkedFrom("p", 9, tasks=("draft",), edits=(edit,), remarks={"draft": (WORD,)})
    requested = ExecutionRequested(name="run", definition=blog(), inputs={}, models={}, forked_from=past)
    assert shown(requested).forked_from == ForkedFrom("p", 9, tasks=("draft",))


def test_a_router_that_took_no_route_is_told_from_one_that_did() -> None:
    assert shown(RouteChosen(step="s", then="a", when=f"x == '{WORD}'", seen={"x": WORD})).when
    assert shown(RouteChosen(step="s", then="a", seen={"x": WORD})).when is None


def test_an_event_without_content_is_left_as_it_is() -> None:
    assert blanked("execution.step_completed", b'{"type":"execution.step_completed"}') is None
