"""From a document to a definition: what is wrong with it, all at once."""

from __future__ import annotations

import copy
from typing import Any

import pytest

from application.documents import MAX_DEFINITION_BYTES, read_definition, read_inputs
from domain.catalog import Catalog, Model, Schema, Template
from domain.errors import Invalid, TooLarge

RISK: dict[str, Any] = {"type": "object", "properties": {"score": {"type": "number"}}, "required": ["score"]}
CATALOG = Catalog(
    models={"demo/small": Model(name="demo/small", default=True)},
    schemas={"Risk": Schema(name="Risk", schema=RISK)},
    templates={"polite": Template(name="polite", text="Answer politely")},
)
DOCUMENT: dict[str, Any] = {
    "name": "Triage",
    "inputs": {"ticket": {"type": "string", "maxLength": 20}, "count": {"type": "integer", "default": 3}},
    "agents": {"clerk": {"role": "Clerk", "goal": "File", "backstory": "Old hand"}},
    "tasks": {"file": {"description": "File {ticket}", "expected_output": "a category", "agent": "clerk"}},
}


def document(*path: str, value: object) -> dict[str, Any]:
    """The sound document with one place changed."""
    changed = copy.deepcopy(DOCUMENT)
    place = changed
    for name in path[:-1]:
        place = place[name]
    place[path[-1]] = value
    return changed


def faults_of(changed: object) -> dict[str, str]:
    with pytest.raises(Invalid) as caught:
        read_definition(changed, CATALOG)
    return {fault.pointer: fault.message for fault in caught.value.faults}


def test_a_sound_document_is_read() -> None:
    assert read_definition(DOCUMENT, CATALOG).tasks["file"].agent == "clerk"


@pytest.mark.parametrize(
    ("path", "value", "at", "says"),
    [
        (("agents", "clerk", "llm"), "x", "/agents/clerk/llm", "unknown field; expected one of: role"),
        (("tasks", "file", "output_file"), "x", "/tasks/file/output_file", "unknown field"),
        (("tasks", "file", "guardrail"), "polite", "/tasks/file/guardrail", "expected one of"),
        (("tasks", "file", "guardrail"), {"max_word": 3}, "/tasks/file/guardrail/max_word", "unknown field"),
        (("agents", "clerk", "inject_date"), True, "/agents/clerk/inject_date", "unknown field"),
        (("agents", "clerk", "max_iter"), 0, "/agents/clerk/max_iter", "minimum"),
        (("agents", "clerk", "max_iter"), "3", "/agents/clerk/max_iter", "integer"),
        (("agents", "clerk", "max_iter"), 5.0, "/agents/clerk/max_iter", "integer"),
        (("agents", "clerk"), {"role": "R"}, "/agents/clerk/goal", "is missing"),
        (("tasks", "file", "agent"), "nobody", "/tasks/file/agent", "expected one of: clerk"),
        (("steps",), {"s": {"loop": {}}}, "/steps/s/loop", "expected one of: crew, router"),
        (("steps",), {"s": {"crew": {"task": []}}}, "/steps/s/crew/tasks", "is missing"),
        (("steps",), {"s": {"crew": {"task": []}}}, "/steps/s/crew/task", "unknown field; expected one of"),
        (("steps",), {"s": {"crew": 3}}, "/steps/s/crew", "expected one of"),
        (
            ("steps",),
            {"s": {"router": {"routes": [{"when": 1}]}}},
            "/steps/s/router/routes/0/then",
            "missing",
        ),
        (("steps",), {"s": {"after": {"some": ["x"]}}}, "/steps/s/after/some", "expected one of: all, any"),
        (("steps",), {"s": {"crew": {"tasks": ["file"]}, "after": 3}}, "/steps/s/after", "expected one of"),
        (("inputs", "ticket"), {"type": "strin"}, "/inputs/ticket/type", "not a JSON Schema"),
        (("inputs", "ticket"), {"pattern": "(a+)+$"}, "/inputs/ticket/pattern", "not available"),
        (("inputs", "ticket"), {"$ref": "http://x/y"}, "/inputs/ticket/$ref", "within the schema"),
        (("inputs", "count"), {"type": "integer", "default": "x"}, "/inputs/count/default", "integer"),
        (("limits",), {"max_attempts": 0}, "/limits/max_attempts", "minimum"),
        (("tasks", "file", "description"), {"template": "rude"}, "/tasks/file/description", "one of: polite"),
        (("agents", "bad name"), {"role": "r", "goal": "g", "backstory": "b"}, "/agents", "'bad name'"),
        (("name",), "", "/name", "non-empty"),
        (("inputs", "ticket"), {"$ref": "#", "default": 1}, "/inputs/ticket", "refers to itself"),
        (("inputs", "ticket"), {"$ref": "#/$defs/a", "default": 1}, "/inputs/ticket/default", "lacks"),
    ],
)
def test_a_fault_names_its_field(path: tuple[str, ...], value: object, at: str, says: str) -> None:
    found = faults_of(document(*path, value=value))
    assert at in found
    assert says in found[at]


def test_two_faults_of_shape_come_together() -> None:
    assert faults_of({"name": 3, "agents": [], "tasks": DOCUMENT["tasks"]}).keys() >= {"/name", "/agents"}


def test_tasks_need_agents_and_a_document_needs_something_to_do() -> None:
    assert faults_of({"name": "N", "tasks": DOCUMENT["tasks"]}).keys() >= {"/agents"}
    assert faults_of({"name": "N"}).keys() == {"/tasks"}
    waits = {"name": "N", "steps": {"rest": {"wait": {"for_s": 1}}}}
    assert read_definition(waits, CATALOG).tasks == {}


@pytest.mark.parametrize(
    "document", [None, [], "text", 3, {}, {"agents": []}, {"agents": {"a": 1}, "tasks": 2}]
)
def test_what_is_no_document_is_refused(document: object) -> None:
    with pytest.raises(Invalid):
        read_definition(document, CATALOG)


def test_a_template_is_copied_in() -> None:
    changed = document("tasks", "file", "description", value={"template": "polite"})
    assert read_definition(changed, CATALOG).tasks["file"].description == "Answer politely"


def test_a_schema_of_the_catalogue_is_copied_in() -> None:
    definition = read_definition(document("tasks", "file", "output_schema", value="Risk"), CATALOG)
    assert definition.schemas == {"Risk": RISK}


def test_a_document_beyond_the_bound_is_refused() -> None:
    tasks = {
        f"t{number}": {"description": "x" * 20_000, "expected_output": "y", "agent": "clerk"}
        for number in range(10)
    }
    with pytest.raises(TooLarge, match=str(MAX_DEFINITION_BYTES)):
        read_definition(document("tasks", value=tasks), CATALOG)


def test_inputs_get_their_defaults() -> None:
    definition = read_definition(DOCUMENT, CATALOG)
    assert read_inputs(definition, {"ticket": "T"}) == {"ticket": "T", "count": 3}


def test_every_wrong_input_is_named() -> None:
    definition = read_definition(DOCUMENT, CATALOG)
    with pytest.raises(Invalid) as caught:
        read_inputs(definition, {"count": "x", "other": 1})
    assert {fault.pointer for fault in caught.value.faults} == {
        "/inputs/other",
        "/inputs/ticket",
        "/inputs/count",
    }
