"""What the demo model understands of a request: the parts of CrewAI's prompts, and words to write about.

Called by `demo`. Its one rule: it only reads; the same request is always understood the same way.
"""

from __future__ import annotations

import json
import re
from hashlib import sha256
from typing import Any

import msgspec

from domain.definition import Json, JsonSchema

ROLE = re.compile(
    r"You are (?P<role>[^\n]+?)\. (?P<backstory>.*?)\nYour personal goal is: (?P<goal>[^\n]*)", re.S
)
TASK = re.compile(
    r"Current Task: (?P<task>.*?)\n+This is the expected criteria for your final answer: (?P<expected>.*?)"
    r"\nyou MUST return",
    re.S,
)
SCHEMA = re.compile(r"according to the following OpenAPI schema: (?P<schema>\{.*\})\n\nIMPORTANT", re.S)
CONTEXT = re.compile(
    r"This is the context you're working with:\n(?P<context>.*?)(\n\nProvide your complete|\Z)", re.S
)
ORDERS = re.compile(
    r"^(?:please |now )*(?:write|draft|compose|research|find|collect|review|edit|check|judge|assess|classify|"
    r"report|answer|summari[sz]e|describe|explain|list|analy[sz]e|triage|rate)\b(?: (?:a|an|the|this))?"
    r"(?:[\w -]*? (?:about|on))?",
    re.IGNORECASE,
)
WORD = re.compile(r"[^\W\d_][\w'’-]{3,}")
COMMON = frozenset(
    """
    about after again also answer based been before being best both cannot classify complete content could
    current does each every expected final find five from give given good have into judge just know like
    list make more most must only other over please post provide research return same says short should
    some task tell text than that their them then there these they this those three through topic under
    until upon very want well were what when where which while will with words would write your
    """.split()  # noqa: SIM905 - a list literal would take a line a word
)


class Prompt(msgspec.Struct, frozen=True):
    """A request, understood.

    tools, schema  what is offered, and what the answer must be an instance of
    results        what tools have answered so far, by name
    """

    text: str
    role: str = "Assistant"
    goal: str = ""
    task: str = ""
    expected: str = ""
    context: str = ""
    tools: list[dict[str, Any]] = []
    schema: JsonSchema | None = None
    results: list[tuple[str, str]] = []

    @property
    def digest(self) -> int:
        """A number that choices are made by; the same for the same request."""
        return int.from_bytes(sha256(self.text.encode(errors="replace")).digest()[:8], "big")

    @property
    def keywords(self) -> list[str]:
        """The words that the task is about, in their order, at least one."""
        words = WORD.findall(f"{self.task} {self.goal}")
        telling = [word for word in words if word.lower() not in COMMON]
        return list(dict.fromkeys(telling))[:6] or words[:1] or ["work"]

    @property
    def subject(self) -> str:
        """The task in a few words, as a headline."""
        line = ORDERS.sub("", re.split(r"[.!?;\n](?:\s|$)", self.task.strip(), maxsplit=1)[0]).strip(" :,")
        line = line or self.keywords[0]
        short = line if len(line) <= 80 else line[:80].rsplit(" ", 1)[0] + " …"
        return short[0].upper() + short[1:]


def understood(messages: list[dict[str, Any]], parameters: dict[str, Any]) -> Prompt:
    """parameters: litellm's, with `tools` and `response_format` where they were given."""
    texts = [text_of(message) for message in messages]
    whole = "\n\n".join(texts)
    role, task, context = ROLE.search(whole), TASK.search(whole), CONTEXT.search(whole)
    return Prompt(
        text=whole,
        role=role["role"] if role else "Assistant",
        goal=role["goal"] if role else "",
        task=task["task"].strip() if task else (texts[-1].strip() if texts else ""),
        expected=task["expected"].strip() if task else "",
        context=context["context"].strip() if context else "",
        tools=[tool["function"] for tool in parameters.get("tools") or ()],
        schema=schema_of(parameters.get("response_format"), whole),
        results=[(str(m.get("name", "tool")), text_of(m)) for m in messages if m.get("role") == "tool"],
    )


def text_of(message: dict[str, Any]) -> str:
    content = message.get("content")
    if isinstance(content, list):
        return "\n".join(str(part.get("text", "")) for part in content if isinstance(part, dict))
    return content if isinstance(content, str) else ""


def schema_of(response_format: Any, text: str) -> JsonSchema | None:
    """The schema that the answer must follow: the request's own, or the one that the prompt quotes."""
    if isinstance(response_format, dict) and (schema := response_format.get("json_schema", {}).get("schema")):
        return dict(schema)
    if quoted := SCHEMA.search(text):
        try:
            found: Json = json.loads(quoted["schema"])
        except ValueError:
            return None
        return found if isinstance(found, dict) else None
    return None
