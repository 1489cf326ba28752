"""text_query: find words or a regular expression in a text.

Its one rule: no pattern runs longer than `TIMEOUT_S`, whatever it is and whatever the text is.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from itertools import islice
from math import prod

from infrastructure.tools.spec import Arguments, ToolContext, ToolError, ToolSpec

MAX_TEXT_CHARACTERS = 1_000_000
MAX_PATTERN_CHARACTERS = 500
MAX_MATCHES = 100
MAX_EXCERPT_CHARACTERS = 300
MAX_REPEATS = 10_000
TIMEOUT_S = 2.0

REPEAT = re.compile(r"\{\s*(\d*)\s*,?\s*(\d*)\s*\}")


def query_text(arguments: Arguments, _: ToolContext) -> str:
    text, pattern = str(arguments["text"]), str(arguments["pattern"])
    limit = int(str(arguments.get("limit", 20)))
    find = regex_spans if arguments.get("regex") else substring_spans
    if find is regex_spans:
        refuse_large_repeats(pattern)
    spans = list(islice(find(text, pattern), limit + 1))
    found = [excerpt(text, start, end) for start, end in spans[:limit]]
    return json.dumps({"matches": found, "more": len(spans) > limit}, ensure_ascii=False)


def refuse_large_repeats(pattern: str) -> None:
    """Repeats are unrolled when a pattern is compiled, which no time limit stops: bound their product."""
    counts = [max(1, int(low or 1), int(high or 1)) for low, high in REPEAT.findall(pattern)]
    if prod(counts) > MAX_REPEATS:
        raise ToolError(f"text_query: pattern: repeats more than {MAX_REPEATS} times; use a simpler one")


def substring_spans(text: str, words: str) -> Iterator[tuple[int, int]]:
    """Where the words stand, whatever their case; found by the engine that has a time limit too."""
    yield from search(text, words, is_literal=True)


def regex_spans(text: str, pattern: str) -> Iterator[tuple[int, int]]:
    yield from search(text, pattern, is_literal=False)


def search(text: str, pattern: str, *, is_literal: bool) -> Iterator[tuple[int, int]]:
    # `regex` has a time limit that `re` lacks; it comes with crewai, and so only runners have it.
    import regex  # type: ignore[import-untyped]

    try:
        flags = regex.IGNORECASE if is_literal else regex.MULTILINE
        compiled = regex.compile(regex.escape(pattern) if is_literal else pattern, flags)
        for match in compiled.finditer(text, timeout=TIMEOUT_S, concurrent=True):
            yield match.span()
    except regex.error as error:
        raise ToolError(f"text_query: pattern: not a regular expression: {error}") from error
    except TimeoutError as error:
        raise ToolError(
            f"text_query: pattern: took longer than {TIMEOUT_S:g} s; use a simpler one"
        ) from error
    except (MemoryError, OverflowError, RecursionError) as error:
        raise ToolError("text_query: pattern: needs too much memory; use a simpler one") from error


def excerpt(text: str, start: int, end: int) -> dict[str, object]:
    """The match, its line number (from 1) and the line around it."""
    line_start = text.rfind("\n", 0, start) + 1
    line_end = text.find("\n", end)
    line = text[line_start : line_end if line_end >= 0 else len(text)]
    return {
        "line": text.count("\n", 0, start) + 1,
        "match": text[start:end][:MAX_EXCERPT_CHARACTERS],
        "text": line[:MAX_EXCERPT_CHARACTERS],
    }


TOOL = ToolSpec(
    name="text_query",
    description=(
        "Find words (case does not matter) or a regular expression in a text; answers the matches as JSON."
    ),
    parameters={
        "type": "object",
        "properties": {
            "text": {"type": "string", "maxLength": MAX_TEXT_CHARACTERS, "description": "the text to search"},
            "pattern": {
                "type": "string",
                "minLength": 1,
                "maxLength": MAX_PATTERN_CHARACTERS,
                "description": "the words to find, or a regular expression when regex is true",
            },
            "regex": {"type": "boolean", "default": False},
            "limit": {"type": "integer", "minimum": 1, "maximum": MAX_MATCHES, "default": 20},
        },
        "required": ["text", "pattern"],
        "additionalProperties": False,
    },
    run=query_text,
)
