"""The page docs/events.md: every event, what it says and which fields it has, made from the code.

Called by `kasal events catalogue` and by the test that keeps the page current. Its one rule: nothing on the
page is written by hand but the headings; what an event means stands with its class.
"""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from typing import Any

import msgspec

from domain.event_filter import TYPE_PREFIX, status_tags
from domain.execution import Status
from domain.registry import EVENT_TYPES
from interfaces.shapes import schema_components

INTRODUCTION = """# Event catalogue

Made from the code by `kasal events catalogue > docs/events.md`; do not edit. Every event travels as a
CloudEvent whose `type` is `{prefix}` and the event's type below, and whose `data` is the event; a field that
is left out has its default. Fields may be added; types and fields are never renamed. The same as a machine
reads it: `/schema/asyncapi.json`. How to follow events: [streams](streams.md).
"""


def page() -> str:
    """The whole page, in Markdown."""
    types = sorted(EVENT_TYPES.items())
    _, components = schema_components([event for _, event in types], ref_template="{name}")
    kinds = dict.fromkeys(tag.partition(".")[0] for tag, _ in types)
    lines = [INTRODUCTION.format(prefix=TYPE_PREFIX), *status_lines()]
    for kind in kinds:
        lines += [f"## {kind}", ""]
        for tag, event in types:
            if tag.startswith(f"{kind}."):
                lines += [f"### {tag}", "", *described(event), *fields(components[event.__name__], event)]
    lines += ["## Shapes within events", ""]
    of_events = {event.__name__ for _, event in types}
    for name, schema in sorted(components.items()):
        if name not in of_events and schema.get("properties"):
            text = schema.get("description", "").splitlines()
            lines += [f"### {name}", "", *quoted(text), *fields(schema)]
    return "\n".join(lines).rstrip() + "\n"


def status_lines() -> Iterator[str]:
    yield "## Which events bring which status"
    yield ""
    yield "| status | events |"
    yield "|---|---|"
    for status in Status:
        yield f"| {status} | {', '.join(f'`{tag}`' for tag in status_tags(status))} |"
    yield ""


def described(event: type[msgspec.Struct]) -> list[str]:
    return quoted(inspect.cleandoc(event.__doc__ or "").splitlines())


def quoted(lines: list[str]) -> list[str]:
    """As it stands: a docstring's columns are its layout."""
    return ["```text", *lines, "```", ""] if lines else []


def fields(schema: dict[str, Any], event: type[msgspec.Struct] | None = None) -> list[str]:
    properties = {
        name: each for name, each in schema["properties"].items() if event is None or name != "type"
    }
    if not properties:
        return ["No fields.", ""]
    required = schema.get("required", ())
    lines = ["| field | type | default |", "|---|---|---|"]
    for name, each in properties.items():
        default = "" if name in required else f"`{msgspec.json.encode(each.get('default')).decode()}`"
        lines.append(f"| `{name}` | {type_name(each)} | {default} |")
    return [*lines, ""]


def type_name(schema: dict[str, Any]) -> str:
    """`string`, `Content`, `list of string`, `integer or null`, as a reader says it."""
    if "$ref" in schema:
        return str(schema["$ref"])
    if "anyOf" in schema:
        return " or ".join(dict.fromkeys(type_name(each) for each in schema["anyOf"]))
    if "enum" in schema:
        return " or ".join(f"`{value}`" for value in schema["enum"])
    if "const" in schema:
        return f"`{schema['const']}`"
    if schema.get("type") == "array":
        return f"list of {type_name(schema.get('items') or {})}"
    if schema.get("type") == "object":
        inner = schema.get("additionalProperties")
        return f"object of {type_name(inner)}" if isinstance(inner, dict) and inner else "object"
    kind = schema.get("type", "any value")
    return " or ".join(kind) if isinstance(kind, list) else str(kind)
