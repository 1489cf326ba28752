"""What is known of a value before it is there: a type, taken from a JSON Schema.

Used by `checking`. Its one rule: where a schema says too little, or says it in a way that is not followed
here, the type is `ANY`, which passes every check and is looked at when the value is there.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal

import msgspec
from msgspec.structs import replace

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
    """
    kind         what of JSON
    values       the texts it can be, where they are known
    item         of a list
    fields       of an object; is_open: it may have others, of which nothing is known
    is_nullable  it may be null as well
    is_optional  of a field: it may be missing
    """

    kind: Kind
    values: tuple[str, ...] | None = None
    item: Type | None = None
    fields: Mapping[str, Type] = {}
    is_open: bool = False
    is_nullable: bool = False
    is_optional: bool = False

    def __str__(self) -> str:
        shown = {"bool": "true or false", "any": "any value", "null": "null"}
        return shown.get(self.kind) or f"a{'n' if self.kind == 'object' else ''} {self.kind}"


ANY = Type("any")
NULL, BOOL, NUMBER, TEXT = Type("null"), Type("bool"), Type("number"), Type("text")


def list_of(item: Type) -> Type:
    return Type("list", item=item)


def object_of(fields: Mapping[str, Type], *, is_open: bool = False) -> Type:
    return Type("object", fields=fields, is_open=is_open)


def nullable(type: Type) -> Type:
    return type if type.kind == "null" else replace(type, is_nullable=True)


def one_of(types: Sequence[Type]) -> Type:
    """What a value is that is of one of these types; null is one of them, or none."""
    kinds = {type.kind for type in types} - {"null"}
    is_nullable = any(type.kind == "null" or type.is_nullable for type in types)
    rest = [replace(type, is_nullable=False) for type in types if type.kind != "null"]
    if not rest:
        return NULL
    found = rest[0]
    if any(type != found for type in rest):
        found = Type(rest[0].kind, is_open=True) if len(kinds) == 1 else ANY
    return nullable(found) if is_nullable else found


def type_of_schema(schema: Json, root: JsonSchema | None = None, depth: int = 0) -> Type:
    """The type of a schema's instances. root: where its references lead."""
    if not isinstance(schema, dict) or depth > MAX_REFERENCES:
        return ANY
    root = schema if root is None else root
    if "$ref" in schema:
        return type_of_schema(referenced(root, str(schema["$ref"])), root, depth + 1)
    match schema.get("type"):
        case list() as names if names:
            return one_of([type_of_schema({**schema, "type": name}, root, depth + 1) for name in names])
        case "string":
            return Type("text", values=texts_of(schema.get("enum")))
        case "array":
            return list_of(type_of_schema(schema.get("items"), root, depth + 1))
        case "object":
            return object_type(schema, root, depth)
        case str() as name if name in OF_JSON:
            return Type(OF_JSON[name])
        case _:
            return alternatives(schema, root, depth)


def alternatives(schema: JsonSchema, root: JsonSchema, depth: int) -> Type:
    """Of a schema without a type: what its `anyOf` or `oneOf` allows."""
    for key in ("anyOf", "oneOf"):
        if isinstance(schemas := schema.get(key), list) and schemas:
            return one_of([type_of_schema(each, root, depth + 1) for each in schemas])
    return ANY


def texts_of(values: Json) -> tuple[str, ...] | None:
    """An `enum` of texts; null may be among them, where the type allows it."""
    rest = [value for value in values if value is not None] if isinstance(values, list) else []
    return tuple(rest) if rest and all(isinstance(value, str) for value in rest) else None


def object_type(schema: JsonSchema, root: JsonSchema, depth: int) -> Type:
    """A field that `properties` lacks is taken as a slip, unless the schema allows others outright. One that
    `required` lacks may be missing; without `required` the schema says nothing of that."""
    properties, required = schema.get("properties"), schema.get("required")
    fields = {
        str(name): type_of_schema(inner, root, depth + 1)
        for name, inner in (properties.items() if isinstance(properties, dict) else ())
    }
    if isinstance(required, list):
        fields = {
            name: field if name in required else replace(field, is_optional=True)
            for name, field in fields.items()
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
