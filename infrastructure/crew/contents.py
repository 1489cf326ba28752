"""Texts and JSON values on their way into events: what a model or a tool returns, made fit to be stored.

Called by every engine. Its one rule: nothing passes that a JSON document or PostgreSQL would refuse (U+0000,
lone surrogates, NaN, integers beyond 64 bits), and nothing that an event has no room for.
"""

from __future__ import annotations

import json
import math
import re
from hashlib import sha256

import msgspec

from application.ports import MAX_EVENT_BYTES
from domain.definition import Json
from domain.execution import Content, Failure, TaskOutput

INLINE_BYTES = 16 * 1024
"""A call's text is stored in its event up to this size; of a longer one the beginning."""

RESULT_BYTES = 100 * 1024
"""The same for what a call returned: only a result that is stored whole can be answered from the journal."""

MAX_OUTPUT_BYTES = 128 * 1024
"""A task's output above this fails the task: it would not fit into the events that carry it."""

MAX_ENCODED_BYTES = MAX_EVENT_BYTES - 8 * 1024
"""Of text and instance as JSON: the room of an event, without its other fields."""

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


def content_of(text: str, inline_bytes: int = INLINE_BYTES) -> Content:
    """What an event says of a text: all of it when it is short, else its beginning, always its digest."""
    whole = clean_text(text).encode()
    digest = sha256(whole).hexdigest()
    if len(whole) <= inline_bytes:
        return Content(digest, len(whole), whole.decode())
    beginning = whole[:inline_bytes].decode(errors="ignore")
    return Content(digest, len(whole), beginning, is_truncated=True)


def json_content(value: Json, inline_bytes: int = INLINE_BYTES) -> Content:
    """A value as the content of an event, in the one spelling that its digest rests on."""
    return content_of(canonical(value), inline_bytes)


def canonical(value: Json) -> str:
    """JSON with sorted names and no spaces: equal values, equal text."""
    return json.dumps(value, ensure_ascii=False, sort_keys=True, separators=(",", ":"), default=str)


def output_failure(task: str, output: TaskOutput) -> Failure | None:
    """What is wrong with a task's output as such, if anything."""
    size = len(output.text.encode())
    if size > MAX_OUTPUT_BYTES or len(msgspec.json.encode(output)) > MAX_ENCODED_BYTES:
        message = f"the output of {task!r} has {size} bytes; the bound is {MAX_OUTPUT_BYTES} (128 KiB)"
        return Failure("output_too_large", message, task)
    return None
