"""Texts and JSON values on their way into events: what a model or a tool returns, made fit to be stored.

Called by every engine. Its one rule: nothing passes that a JSON document or PostgreSQL would refuse (U+0000,
lone surrogates, NaN, integers beyond 64 bits), and nothing that the content store has no room for.
"""

from __future__ import annotations

import json
import math
import re
from hashlib import sha256

import msgspec

from application.contents import MAX_CONTENT_BYTES, shortened
from application.ports import MAX_EVENT_BYTES
from domain.definition import Json
from domain.execution import Content, Failure, TaskOutput

MAX_ENCODED_BYTES = MAX_EVENT_BYTES - 8 * 1024
"""Of an output as JSON, large texts set aside: the room of an event, without its other fields."""

UNSTORABLE = re.compile("[\0\ud800-\udfff]")
REPLACEMENT = "\ufffd"


def clean_text(text: str) -> str:
    """The text with U+FFFD for what can not be stored."""
    return UNSTORABLE.sub(REPLACEMENT, text)


def clean_json(value: Json) -> Json:
    """The value with every text cleaned. Raises `ValueError` for a number that JSON or the log lacks."""
    match value:
        case str():
            return clean_text(value)
        case dict():
            return {clean_text(str(name)): clean_json(inner) for name, inner in value.items()}
        case list() | tuple():
            return [clean_json(inner) for inner in value]
        case bool() | None:
            return value
        case int() if not -(2**63) <= value < 2**63:
            raise ValueError("an integer is beyond 64 bits")
        case float() if not math.isfinite(value):
            raise ValueError("a number is not finite")
        case _:
            return value


def content_of(text: str) -> Content:
    """A text that a call sent or received, whole; what an event has no room for is set aside on its way."""
    whole = clean_text(text)
    encoded = whole.encode()
    return Content(sha256(encoded).hexdigest(), len(encoded), whole)


def json_content(value: Json) -> Content:
    """A value as the content of an event, in the one spelling that its digest rests on."""
    return content_of(canonical(value))


def canonical(value: Json) -> str:
    """JSON with sorted names and no spaces: equal values, equal text."""
    return json.dumps(value, ensure_ascii=False, sort_keys=True, separators=(",", ":"), default=str)


def output_failure(task: str, output: TaskOutput) -> Failure | None:
    """What is wrong with a task's output as such, if anything."""
    if too_large(output.text):
        message = f"the output of {task!r} is beyond the bound of {MAX_CONTENT_BYTES} bytes"
        return Failure("output_too_large", message, task)
    if (size := len(msgspec.json.encode(shortened(output)[0]))) > MAX_ENCODED_BYTES:
        message = f"the instance in the output of {task!r} has {size} bytes; the bound is {MAX_ENCODED_BYTES}"
        return Failure("output_too_large", message, task)
    return None


def too_large(text: str) -> bool:
    """Whether the content store has no room for a text."""
    return len(text) > MAX_CONTENT_BYTES // 4 and len(text.encode(errors="replace")) > MAX_CONTENT_BYTES
