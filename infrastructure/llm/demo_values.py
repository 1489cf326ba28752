"""Instances of JSON Schemas, made of a prompt's words: what the demo model answers, and asks tools with.

Called by `demo`. Its one rule: the same schema and the same prompt give the same value. A string that must
match a `pattern` takes the schema's own example; without one the value may not be valid.
"""

from __future__ import annotations

import math
from typing import Any

from domain.definition import Json, JsonSchema
from infrastructure.llm.demo_prompts import Prompt

MAX_DEPTH = 6
FORMATS = {
    "date": "2026-01-15",
    "date-time": "2026-01-15T09:30:00Z",
    "time": "09:30:00Z",
    "duration": "PT1H",
    "email": "team@example.com",
    "hostname": "example.com",
    "ipv4": "192.0.2.10",
    "ipv6": "2001:db8::10",
    "uri": "https://example.com/",
    "uuid": "018f3c1e-7b6a-7c3d-9e2f-1a2b3c4d5e6f",
}


def instance_of(schema: JsonSchema, prompt: Prompt) -> Json:
    """An instance of the schema, about what the prompt is about."""
    return Values(schema, prompt).of(schema, "", 0)


class Values:
    """Makes the values of one document; `_turn` tells equal places apart."""

    def __init__(self, root: JsonSchema, prompt: Prompt) -> None:
        self._root = root
        self._prompt = prompt
        self._turn = prompt.digest % 7

    def of(self, schema: Any, name: str, depth: int) -> Json:
        schema = self._resolved(schema)
        self._turn += 1
        if "const" in schema:
            return schema["const"]
        if examples := list_of(schema.get("examples")):
            return examples[0]
        if options := list_of(schema.get("enum")):
            return options[self._turn % len(options)]
        match kind_of(schema):
            case "object":
                return self._object(schema, depth)
            case "array":
                return self._array(schema, name, depth)
            case "integer" | "number" as kind:
                return number(schema, self._turn, whole=kind == "integer")
            case "boolean":
                return bool(schema.get("default", True))
            case "null":
                return None
            case _:
                return self._text(schema, name)

    def _resolved(self, schema: Any) -> JsonSchema:
        """The schema behind references and alternatives, as far as this model reads them."""
        for _ in range(20):
            if not isinstance(schema, dict):
                return {}
            if (reference := schema.get("$ref")) and isinstance(reference, str):
                schema = {**self._at(reference), **{k: v for k, v in schema.items() if k != "$ref"}}
            elif options := schema.get("anyOf") or schema.get("oneOf"):
                rest = {k: v for k, v in schema.items() if k not in ("anyOf", "oneOf")}
                chosen: Any = next((one for one in options if self._resolved(one).get("type") != "null"), {})
                schema = {**rest, **self._resolved(chosen)}
            elif parts := schema.get("allOf"):
                schema = {k: v for k, v in schema.items() if k != "allOf"}
                for part in map(self._resolved, parts):
                    schema = merged(schema, part)
            else:
                return schema
        return {}

    def _at(self, reference: str) -> JsonSchema:
        found: Any = self._root
        for part in reference.removeprefix("#").strip("/").split("/"):
            found = (
                found.get(part.replace("~1", "/").replace("~0", "~"), {})
                if part and isinstance(found, dict)
                else found
            )
        return found if isinstance(found, dict) else {}

    def _object(self, schema: JsonSchema, depth: int) -> Json:
        properties: Any = schema.get("properties") or {}
        required: Any = schema.get("required") or ()
        names = [name for name in properties if depth < MAX_DEPTH or name in required]
        return {name: self.of(properties[name], name, depth + 1) for name in names}

    def _array(self, schema: Any, name: str, depth: int) -> Json:
        fixed = schema.get("prefixItems") or ()
        least, most = schema.get("minItems", 0), schema.get("maxItems", 100)
        count = min(max(least, 0 if depth >= MAX_DEPTH else 2), most)
        kinds = [fixed[i] if i < len(fixed) else schema.get("items", {}) for i in range(count)]
        values = [self.of(kind, name, depth + 1) for kind in kinds]
        if not schema.get("uniqueItems"):
            return values
        return [
            f"{value} {i}" if isinstance(value, str) and value in values[:i] else value
            for i, value in enumerate(values)
        ]

    def _text(self, schema: Any, name: str) -> str:
        if known := FORMATS.get(schema.get("format", "")):
            return known
        if isinstance(schema.get("default"), str):
            return str(schema["default"])
        text = self._words(name.lower())
        least, most = schema.get("minLength", 0), schema.get("maxLength", len(text))
        while len(text) < least:
            text += f" {self._prompt.subject}"
        return text[: max(most, least)]

    def _words(self, name: str) -> str:
        """Text for a field, by what its name promises."""
        prompt, words = self._prompt, self._prompt.keywords
        if any(part in name for part in ("title", "name", "subject", "headline")):
            return prompt.subject
        if any(part in name for part in ("word", "tag", "label", "query", "pattern", "category")):
            return words[self._turn % len(words)].lower()
        if any(part in name for part in ("body", "text", "content", "document")):
            return (prompt.context or prompt.task or prompt.subject)[:2_000]
        return f"{prompt.subject}: {words[self._turn % len(words)]} decides, as {prompt.role} sees it."


def kind_of(schema: Any) -> str:
    kind = schema.get("type")
    if isinstance(kind, list):
        kind = next((one for one in kind if one != "null"), "null")
    if kind is None:
        kind = "object" if "properties" in schema else "array" if "items" in schema else "string"
    return str(kind)


def number(schema: Any, turn: int, *, whole: bool) -> int | float:
    """A number within the schema's bounds; between both where there are two."""
    step = schema.get("multipleOf")
    low = schema.get("minimum", schema.get("exclusiveMinimum"))
    high = schema.get("maximum", schema.get("exclusiveMaximum"))
    if low is not None and high is not None:
        value = low + (high - low) * (turn % 6 + 1) / 7
    elif low is not None:
        value = low + 1 + turn % 5
    elif high is not None:
        value = high - 1 - turn % 5
    else:
        value = 3 + turn % 40
    if step:
        value = math.floor(value / step) * step
        value += step if low is not None and value < low else 0
    return math.ceil(value) if whole and not step else int(value) if whole else round(float(value), 6)


def merged(one: JsonSchema, other: JsonSchema) -> JsonSchema:
    """Both schemas of an allOf, their properties and required names together."""
    properties = {**dict_of(one.get("properties")), **dict_of(other.get("properties"))}
    required = [*list_of(one.get("required")), *list_of(other.get("required"))]
    return {**one, **other, **({"properties": properties} if properties else {}), "required": required}


def dict_of(value: Json) -> dict[str, Json]:
    return value if isinstance(value, dict) else {}


def list_of(value: Json) -> list[Json]:
    return value if isinstance(value, list) else []
