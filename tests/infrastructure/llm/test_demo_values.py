"""The demo model's instances are valid, whatever it understood of the prompt."""

from __future__ import annotations

from typing import Any

import pytest
import yaml
from jsonschema import Draft202012Validator

from infrastructure.llm.demo_prompts import Prompt, understood
from infrastructure.llm.demo_values import instance_of
from infrastructure.tools import discover
from seeds.planting import DATA

SYSTEM = "You are Researcher. Ten years at it\nYour personal goal is: Find what matters in robotics"
USER = (
    "\nCurrent Task: Write a post about service robots\n\n"
    "This is the expected criteria for your final answer: 300 words\n"
    "you MUST return the actual complete content as the final answer, not a summary.\n\n"
    "This is the context you're working with:\nRobots sell well.\n\nProvide your complete response:"
)
PROMPT = understood([{"role": "system", "content": SYSTEM}, {"role": "user", "content": USER}], {})

SCHEMAS_TO_MEET: list[dict[str, Any]] = [
    {"type": "object"},
    {"type": "object", "properties": {"a": {"type": "string", "minLength": 200, "maxLength": 210}}},
    {"type": "object", "properties": {"a": {"type": "string", "maxLength": 3}}, "required": ["a"]},
    {"properties": {"a": {"enum": ["x", "y"]}, "b": {"const": 7}, "c": {"type": ["null", "integer"]}}},
    {"properties": {"a": {"type": "integer", "minimum": 10, "maximum": 12}}},
    {
        "properties": {
            "a": {"type": "integer", "exclusiveMinimum": 3},
            "b": {"type": "integer", "maximum": -5},
        }
    },
    {"properties": {"a": {"type": "number", "multipleOf": 5, "minimum": 11}}},
    {"properties": {"a": {"type": "integer", "multipleOf": 3, "minimum": 1, "maximum": 20}}},
    {"properties": {"a": {"type": "array", "items": {"type": "string"}, "minItems": 3, "uniqueItems": True}}},
    {"properties": {"a": {"type": "array", "items": {"type": "integer"}, "maxItems": 1}}},
    {"properties": {"a": {"type": "array", "prefixItems": [{"type": "integer"}, {"type": "boolean"}]}}},
    {
        "properties": {
            "a": {"type": "string", "format": "date-time"},
            "b": {"type": "string", "format": "uuid"},
        }
    },
    {"properties": {"a": {"$ref": "#/$defs/b"}}, "$defs": {"b": {"type": "boolean"}}, "required": ["a"]},
    {"properties": {"a": {"anyOf": [{"type": "null"}, {"type": "integer"}]}}, "required": ["a"]},
    {"allOf": [{"properties": {"a": {"type": "integer"}}}, {"required": ["a"]}], "type": "object"},
    {
        "type": "object",
        "properties": {"name": {"type": "string"}, "children": {"type": "array", "items": {"$ref": "#"}}},
        "required": ["name"],
    },
    {"type": "object", "properties": {"a": {"type": "string", "pattern": "^[A-Z]{3}$", "examples": ["ABC"]}}},
    {"type": "object", "properties": {"a": True}, "required": ["a"]},
]


@pytest.mark.parametrize("schema", SCHEMAS_TO_MEET, ids=str)
def test_an_instance_is_valid(schema: dict[str, Any]) -> None:
    validator = Draft202012Validator(schema, format_checker=Draft202012Validator.FORMAT_CHECKER)
    for text in ("", "Say something", "a" * 5_000, SYSTEM + USER):
        validator.validate(instance_of(schema, Prompt(text=text, task=text)))


SEEDED = yaml.safe_load((DATA / "schemas.yaml").read_text(encoding="utf-8"))


@pytest.mark.parametrize("entry", SEEDED, ids=lambda entry: entry["name"])
def test_every_schema_of_the_catalogue_is_met(entry: dict[str, Any]) -> None:
    Draft202012Validator(entry["schema"]).validate(instance_of(entry["schema"], PROMPT))


@pytest.mark.parametrize("tool", discover().values(), ids=lambda tool: tool.name)
def test_arguments_for_every_tool_are_valid(tool: Any) -> None:
    Draft202012Validator(tool.parameters).validate(instance_of(tool.parameters, PROMPT))


def test_the_parts_of_a_prompt_are_understood() -> None:
    assert (PROMPT.role, PROMPT.goal) == ("Researcher", "Find what matters in robotics")
    assert (PROMPT.task, PROMPT.expected) == ("Write a post about service robots", "300 words")
    assert PROMPT.context == "Robots sell well."


def test_a_schema_is_found_in_the_request_or_in_the_prompt() -> None:
    schema = {"type": "object", "properties": {"a": {"type": "string"}}}
    given = {"response_format": {"type": "json_schema", "json_schema": {"name": "A", "schema": schema}}}
    assert understood([{"role": "user", "content": "x"}], given).schema == schema
    quoted = 'according to the following OpenAPI schema: {\n  "type": "object"\n}\n\nIMPORTANT: Preserve'
    assert understood([{"role": "user", "content": quoted}], {}).schema == {"type": "object"}


def test_a_prompt_of_nothing_is_understood_as_well_as_it_can_be() -> None:
    prompt = understood([], {})
    assert prompt.keywords
    assert prompt.subject
