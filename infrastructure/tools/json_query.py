"""json_query: pick values out of a JSON document by a path, a subset of JSONPath (RFC 9535).

    $.orders[0].id            a member, an element (negative: from the end)
    $['odd name']             a member whose name is not a word
    $.orders[*].total         every element, every member value
    $.orders[1:3]             a slice
    $.orders[?@.total > 100]  the elements for which a comparison holds: == != < <= > >= with a JSON literal

Its one rule: every segment picks distinct parts of what it was given, so an answer is never larger than the
document.
"""

from __future__ import annotations

import json
import operator
import re
from collections.abc import Callable, Iterator
from typing import Any, NoReturn

from domain.definition import Json
from infrastructure.tools.spec import Arguments, ToolContext, ToolError, ToolSpec

MAX_DOCUMENT_CHARACTERS = 1_000_000
MAX_PATH_CHARACTERS = 500
MAX_VALUES = 1_000

Segment = Callable[[Json], Iterator[Json]]

WORD = r"[A-Za-z_][A-Za-z0-9_-]*"
LITERAL = r"""-?\d+(?:\.\d+)?(?:[eE][+-]?\d+)?|true|false|null|'[^']*'|"[^"]*\""""
TOKEN = re.compile(
    rf"""\.(?P<name>{WORD})
       | \[(?P<index>-?\d{{1,9}})\]
       | \[(?P<quoted>'[^']*'|"[^"]*")\]
       | (?P<every>\[\*\]|\.\*)
       | \[(?P<start>-?\d{{1,9}})?:(?P<end>-?\d{{1,9}})?\]
       | \[\?@(?P<members>(?:\.{WORD})*)\s*(?P<comparison>==|!=|<=|>=|<|>)\s*(?P<literal>{LITERAL})\]
    """,
    re.VERBOSE,
)
COMPARISONS: dict[str, Callable[[Any, Any], bool]] = {
    "==": operator.eq,
    "!=": operator.ne,
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
}


def query_json(arguments: Arguments, _: ToolContext) -> str:
    values: list[Json] = [parsed(str(arguments["document"]))]
    for segment in segments(str(arguments["path"])):
        values = [picked for value in values for picked in segment(value)]
    if len(values) > MAX_VALUES:
        raise ToolError(f"json_query: path: picks {len(values)} values; expected at most {MAX_VALUES}")
    return json.dumps(values, ensure_ascii=False)


def parsed(document: str) -> Json:
    try:
        return json.loads(document, parse_constant=refuse_constant)
    except (ValueError, RecursionError) as error:
        raise ToolError(f"json_query: document: not JSON: {error}") from error


def refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not JSON")


def segments(path: str) -> Iterator[Segment]:
    if not path.startswith("$"):
        raise ToolError("json_query: path: expected it to begin with $, for example $.orders[0].id")
    at = 1
    while at < len(path):
        token = TOKEN.match(path, at)
        if token is None:
            raise ToolError(
                f"json_query: path: {path[at : at + 40]!r} is not understood; see the description"
            )
        yield segment_of(token)
        at = token.end()


def segment_of(token: re.Match[str]) -> Segment:
    part = token.groupdict()
    if part["name"] is not None:
        return lambda value: member(value, part["name"])
    if part["quoted"] is not None:
        return lambda value: member(value, part["quoted"][1:-1])
    if part["index"] is not None:
        return lambda value: element(value, int(part["index"]))
    if part["every"] is not None:
        return every
    if part["comparison"] is not None:
        return lambda value: (one for one in every(value) if holds(one, part))
    bounds = slice(*(int(edge) if edge else None for edge in (part["start"], part["end"])))
    return lambda value: iter(value[bounds] if isinstance(value, list) else ())


def member(value: Json, name: str) -> Iterator[Json]:
    if isinstance(value, dict) and name in value:
        yield value[name]


def element(value: Json, index: int) -> Iterator[Json]:
    if isinstance(value, list) and -len(value) <= index < len(value):
        yield value[index]


def every(value: Json) -> Iterator[Json]:
    if isinstance(value, dict):
        yield from value.values()
    elif isinstance(value, list):
        yield from value


def holds(value: Json, part: dict[str, str]) -> bool:
    """Whether a filter's comparison is true of a value; what can not be compared is not true."""
    found = [value]
    for name in part["members"].split(".")[1:]:
        found = [inner for one in found for inner in member(one, name)]
    text = part["literal"]
    literal = text[1:-1] if text[0] in "'\"" else json.loads(text)
    try:
        return any(COMPARISONS[part["comparison"]](one, literal) for one in found)
    except TypeError:
        return False


TOOL = ToolSpec(
    name="json_query",
    description=(
        "Pick values out of a JSON document by a JSONPath such as $.orders[*].total, $.orders[-1], "
        "$.orders[1:3], $['odd name'] or $.orders[?@.total > 100]; answers a JSON list of the values found."
    ),
    parameters={
        "type": "object",
        "properties": {
            "document": {
                "type": "string",
                "maxLength": MAX_DOCUMENT_CHARACTERS,
                "description": "JSON text",
                "examples": ['{"orders": [{"total": 12.5}, {"total": 30}]}'],
            },
            "path": {
                "type": "string",
                "minLength": 1,
                "maxLength": MAX_PATH_CHARACTERS,
                "examples": ["$", "$.orders[*].total"],
            },
        },
        "required": ["document", "path"],
        "additionalProperties": False,
    },
    run=query_json,
)
