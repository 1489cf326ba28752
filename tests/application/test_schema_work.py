"""Schemas that a few lines make endless: refused before anything is held against them."""

from __future__ import annotations

from typing import Any

import pytest

from application.documents import read_definition, schema_faults, value_faults
from application.schema_work import MAX_WORK, schema_work, values_in
from domain.catalog import Catalog
from domain.errors import Invalid, TooLarge

FAN: dict[str, Any] = {
    "$ref": "#/$defs/d0",
    "$defs": {f"d{n}": {"allOf": [{"$ref": f"#/$defs/d{n + 1}"}] * 10} for n in range(30)} | {"d30": {}},
}
CHAIN: dict[str, Any] = {
    "$ref": "#/$defs/d0",
    "$defs": {f"d{n}": {"$ref": f"#/$defs/d{n + 1}"} for n in range(3_000)} | {"d3000": {}},
}
ENDLESS = [
    FAN,
    CHAIN,
    {"$ref": "#"},
    {"type": "object", "properties": {"next": {"$ref": "#"}}},
    {"$ref": "#/$defs/a", "$defs": {"a": {"$ref": "#/$defs/b"}, "b": {"$ref": "#/$defs/a"}}},
    {"anyOf": [{"const": n} for n in range(3_000)]},
    {"enum": list(range(3_000))},
]


@pytest.mark.parametrize("schema", ENDLESS, ids=range(len(ENDLESS)))
def test_a_schema_without_end_is_refused_and_never_begun(schema: dict[str, Any]) -> None:
    assert schema_work(schema) > MAX_WORK
    assert [fault.pointer for fault in schema_faults(schema, "inputs", "x")] == ["/inputs/x"]
    assert [fault.pointer for fault in value_faults(schema, {"next": 1}, "inputs", "x")] == ["/inputs/x"]


def test_references_that_come_to_an_end_are_taken() -> None:
    item = {"type": "object", "properties": {"n": {"type": "integer"}}, "required": ["n"]}
    schema: dict[str, Any] = {
        "type": "array",
        "items": {"$ref": "#/$defs/item"},
        "$defs": {"item": item, "unused": FAN},
    }
    assert not tuple(schema_faults({**schema, "$defs": {"item": item}}))
    assert schema_work(schema) < 20
    assert [fault.pointer for fault in value_faults(schema, [{"n": 1}, {}], "x")] == ["/x/1/n"]


def test_a_value_that_is_too_large_for_its_schema_is_refused() -> None:
    schema: dict[str, Any] = {"type": "array", "items": {"enum": list(range(1_000))}}
    assert not value_faults(schema, [1] * 1_000, "x")
    assert [fault.pointer for fault in value_faults(schema, [1] * 10_000, "x")] == ["/x"]
    assert values_in({"a": [1, {"b": 2}]}) == 5


def test_of_very_many_faults_the_first_hundred_are_named() -> None:
    document = {"name": "x", "agents": {}, "tasks": {f"t{n}": n for n in range(5_000)}}
    with pytest.raises(Invalid) as refused:
        read_definition(document, Catalog())
    assert len(refused.value.faults) == 100


def test_a_document_that_is_too_large_is_not_looked_at() -> None:
    with pytest.raises(TooLarge):
        read_definition({"name": "x" * 200_000}, Catalog())
