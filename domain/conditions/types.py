"""What is known of a value before it is there: a type, taken from a JSON Schema.

Used by `checking`. Its one rule: where a schema says too little, or says it in a way that is not followed
here, the type is `ANY`, which passes every check and is looked at when the value is there.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

import msgspec

from domain.terms import Json, JsonSchema

Kind = Literal["any", "null", "bool", "number", "text", "list", "object"]
MAX_REFERENCES = 32
OF_JSON: dict[str, Kind] = {
    "null": "null",
    "boolean": "bool",
    "integer": "number",
    "number": "number",
    "string": "text",
    "array": "list",
    "object": "object",
}


class Type(msgspec.Struct, frozen=True):
    """kind: what of JSON. values: the texts it can be, where they are known. item: of a list. fields: of an
    object; is_open: it may have others, of which nothing is known."""

    kind: Kind
    values: tuple[str, ...] | None = None
    item: Type | None = None
    fields: Mapping[str, Type] = {}
    is_open: bool = False

    def __str__(self) -> str:
        shown = {"bool": "true or false", "any": "any value", "null": "null"}
        return shown.get(self.kind) or f"a{'n' if self.kind == 'object' else ''} {self.kind}"


ANY = Type("any")
NULL, BOOL, NUMBER, TEXT = Type("null"), Type("bool"), Type("number"), Type("text")


def list_of(item: Type) -> Type:
    return Type("list", item=item)


def object_of(fields: Mapping[str, Type], *, is_open: bool = False) -> Type:
    return Type("object", fields=fields, is_open=is_open)


def type_of_schema(schema: Json, root: JsonSchema | None = None, depth: int = 0) -> Type:
    """The type of a schema's instances. root: where its references lead."""
    if not isinstance(schema, dict) or depth > MAX_REFERENCES:
        return ANY
    root = schema if root is None else root
    if "$ref" in schema:
        return type_of_schema(referenced(root, str(schema["$ref"])), root, depth + 1)
    match schema.get("type"):
        case "string":
            values = schema.get("enum")
            known = isinstance(values, list) and all(isinstance(value, str) for value in values)
            return Type("text", values=tuple(values) if known and isinstance(values, list) else None)
        case "array":
            return list_of(type_of_schema(schema.get("items"), root, depth + 1))
        case "object":
            return object_type(schema, root, depth)
        case str() as name if name in OF_JSON:
            return Type(OF_JSON[name])
        case _:
            return ANY


def object_type(schema: JsonSchema, root: JsonSchema, depth: int) -> Type:
    """A field that `properties` lacks is taken as a slip, unless the schema allows others outright."""
    properties = schema.get("properties")
    fields = {
        str(name): type_of_schema(inner, root, depth + 1)
        for name, inner in (properties.items() if isinstance(properties, dict) else ())
    }
    elsewhere = ("allOf", "anyOf", "oneOf", "if", "patternProperties", "additionalProperties")
    is_open = not fields or any(schema.get(key, False) is not False for key in elsewhere)
    return object_of(fields, is_open=is_open and schema.get("additionalProperties", True) is not False)


def referenced(root: JsonSchema, reference: str) -> Json:
    """What `#/$defs/x` leads to; None when it leads to nothing."""
    value: Json = root
    for part in reference.split("/")[1:]:
        name = part.replace("~1", "/").replace("~0", "~")
        value = value.get(name) if isinstance(value, dict) else None
    return value
