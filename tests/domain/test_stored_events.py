"""The shapes of stored events: a log that was written by an earlier release must be readable for ever.

To add an event, or a field with a default: run this file as a program, which rewrites the golden file beside
it, and read the difference. What is there already may never change.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import msgspec
import pytest

from domain.registry import EVENT_TYPES

GOLDEN = Path(__file__).with_name("stored_events.json")
REQUIRED = "required"


def shapes() -> dict[str, dict[str, Any]]:
    """Each tag with its fields: `required`, or the default as JSON."""
    return {tag: shape(event) for tag, event in sorted(EVENT_TYPES.items())}


def shape(event: type[msgspec.Struct]) -> dict[str, Any]:
    return {field.encode_name: default(field) for field in msgspec.structs.fields(event)}


def default(field: msgspec.structs.FieldInfo) -> Any:
    if field.required:
        return REQUIRED
    made = field.default if field.default_factory is msgspec.NODEFAULT else field.default_factory()
    return {"default": msgspec.json.decode(msgspec.json.encode(made))}


golden: dict[str, dict[str, Any]] = json.loads(GOLDEN.read_text()) if GOLDEN.exists() else {}


@pytest.mark.parametrize("tag", sorted({*golden, *EVENT_TYPES}))
def test_a_stored_event_keeps_its_tag_and_its_fields(tag: str) -> None:
    assert tag in EVENT_TYPES, "a stored tag was taken away; expected an upcaster instead"
    assert tag in golden, "a new event; run this file as a program"
    now, then = shapes()[tag], golden[tag]
    assert then.items() <= now.items(), "what is stored already has changed"
    assert now == then, "a new field; run this file as a program"
    assert all(now[field] != REQUIRED for field in now.keys() - then.keys()), "a new field needs a default"


if __name__ == "__main__":
    GOLDEN.write_text(json.dumps(shapes(), indent=1) + "\n")
