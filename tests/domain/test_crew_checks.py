"""Faults of what a crew and a task say of how they are worked on: each at its field."""

from __future__ import annotations

import pytest

from domain.catalog import Catalog, Model
from domain.checks import definition_faults
from domain.definition import Agent, Crew, Definition, Guardrail, Step, Task

CATALOG = Catalog(models={"demo/small": Model(name="demo/small", default=True)})
BOSS = Agent(role="Boss", goal="g", backstory="b")


def found(crew: Crew | None = None, catalog: Catalog = CATALOG, **changes: object) -> dict[str, str]:
    """The faults of a document of one task, worked on by such a crew."""
    fields = {"description": "Do", "expected_output": "done", "agent": "writer", **changes}
    definition = Definition(
        name="x",
        agents={"writer": Agent(role="W", goal="g", backstory="b"), "boss": BOSS},
        tasks={"a": Task(**fields)},  # type: ignore[arg-type]
        steps={"s": Step(crew=crew)} if crew else {},
    )
    return {fault.pointer: fault.message for fault in definition_faults(definition, catalog)}


def crew(**fields: object) -> Crew:
    return Crew(**{"tasks": ("a",), "process": "hierarchical", **fields})  # type: ignore[arg-type]


@pytest.mark.parametrize("manager", [{"manager_agent": "boss"}, {"manager_model": "demo/small"}])
@pytest.mark.parametrize("agent", ["writer", None])
def test_a_manager_is_an_agent_or_a_model(manager: dict[str, str], agent: str | None) -> None:
    assert found(crew(**manager), agent=agent) == {}


@pytest.mark.parametrize(
    ("fields", "at"),
    [
        ({}, "/steps/s/crew"),
        ({"manager_agent": "boss", "manager_model": "demo/small"}, "/steps/s/crew"),
        ({"manager_agent": "nobody"}, "/steps/s/crew/manager_agent"),
        ({"manager_model": "acme/x"}, "/steps/s/crew/manager_model"),
        ({"manager_agent": "writer"}, "/tasks/a/agent"),
        ({"manager_agent": "boss", "planning_model": "demo/small"}, "/steps/s/crew/planning_model"),
        (
            {"manager_agent": "boss", "planning": True, "planning_model": "acme/x"},
            "/steps/s/crew/planning_model",
        ),
        ({"process": "sequential", "manager_agent": "boss"}, "/steps/s/crew/manager_agent"),
        ({"process": "sequential", "manager_model": "demo/small"}, "/steps/s/crew/manager_model"),
    ],
)
def test_an_option_that_has_no_effect_where_it_stands_is_a_fault(fields: dict[str, object], at: str) -> None:
    assert found(crew(**fields)).keys() == {at}


def test_a_task_of_a_sequential_crew_needs_an_agent() -> None:
    assert found(agent=None).keys() == {"/tasks/a/agent"}


def test_planning_needs_a_model() -> None:
    no_default = Catalog(models={"demo/small": Model(name="demo/small")})
    planned = found(crew(process="sequential", planning=True), no_default)
    assert planned.keys() == {"/agents", "/steps/s/crew/planning_model"}
    assert found(crew(process="sequential", planning=True)) == {}


@pytest.mark.parametrize(
    ("guardrail", "at"),
    [
        (Guardrail(), "/tasks/a/guardrail"),
        (Guardrail(min_words=5, max_words=4), "/tasks/a/guardrail/min_words"),
        (Guardrail(matches="("), "/tasks/a/guardrail/matches"),
        (Guardrail(schema="Nothing"), "/tasks/a/guardrail/schema"),
    ],
)
def test_a_guardrail_checks_something_that_is_there(guardrail: Guardrail, at: str) -> None:
    assert found(guardrail=guardrail).keys() == {at}


def test_a_sound_guardrail_has_no_fault() -> None:
    assert found(guardrail=Guardrail(description="Polite", min_words=1, max_words=5, matches="^a")) == {}
