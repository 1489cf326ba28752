"""The crews whose runners are killed behind every journal entry, and the scripted model that they talk to.

Used by `test_journal.py`. Its one rule: `answer` depends on the request alone, so that a request which
differs from run to run shows as another output and as one request too many.
"""

from __future__ import annotations

import json
import re
from hashlib import sha256
from typing import Any

from domain.catalog import Model
from domain.definition import Definition
from tests.infrastructure.crew.crews import OPENAI, document
from tests.model_server import Turn

SMALL = Model(name=OPENAI, context_window=6_000)
"""A model for which 6,000 characters are a quarter of its context window."""

READER = "read_a_deferred_tool_result"
"""CrewAI's own tool, offered once a result was put into a file."""

RISK = {
    "type": "object",
    "properties": {"score": {"type": "number"}, "why": {"type": "string"}},
    "required": ["score", "why"],
    "additionalProperties": False,
}


def sequential() -> Definition:
    """Three agents, three tasks, each with the earlier ones as context."""
    return document(
        {
            "one": {"description": "Find facts"},
            "two": {"description": "Write them up", "context": ["one"]},
            "three": {"description": "Edit the text", "context": ["one", "two"]},
        }
    )


def full() -> Definition:
    """A plan, tools (two at once), two async tasks, a guardrail that refuses once, two output schemas."""
    return document(
        {
            "count": {"description": "Count with tools", "tools": ["calculator", "text_query"]},
            "strict": {"description": "Be strict", "guardrail": {"description": "Rule", "matches": "text"}},
            "left": {"description": "Go left", "async_execution": True, "context": ["count"]},
            "right": {"description": "Go right", "async_execution": True, "context": ["count"]},
            "judge": {"description": "Judge", "context": ["left", "right"], "output_schema": "Risk"},
            "again": {"description": "Judge again", "context": ["judge"], "output_schema": "Risk"},
        },
        schemas={"Risk": RISK},
        steps={"crew": {"crew": {"tasks": FULL, "planning": True}}},
    )


FULL = ["count", "strict", "left", "right", "judge", "again"]


def hierarchical() -> Definition:
    """A manager who has the first task done by whom it likes (two at once), the second by its agent."""
    agents = {
        name: {"role": f"The {name}", "goal": "Help", "backstory": "Knows", "tools": ["calculator"]}
        for name in ("analyst", "clerk")
    }
    return document(
        {"free": {"description": "Find out", "agent": None}, "given": {"description": "Check"}},
        agents=agents,
        steps={
            "crew": {"crew": {"tasks": ["free", "given"], "process": "hierarchical", "manager_model": OPENAI}}
        },
    )


def delegating() -> Definition:
    """An agent that may delegate, whose tool results are larger than a quarter of its context window."""
    writer = {"role": "Writer", "goal": "Write", "backstory": "None", "allow_delegation": True}
    clerk = {"role": "The clerk", "goal": "Help", "backstory": "Knows", "tools": ["text_query"]}
    return document({"only": {"description": "Large"}}, agents={"writer": writer, "clerk": clerk})


def answer(request: dict[str, Any]) -> Turn:
    """The same for the same request, whenever it comes; tools first, where they are offered."""
    messages = request["messages"]
    digest = sha256(json.dumps(messages, sort_keys=True).encode()).hexdigest()[:8]
    asked = json.dumps(messages)
    offered = {tool["function"]["name"] for tool in request.get("tools", ())}
    if "Judge whether the result" in asked:
        return Turn(text=json.dumps({"valid": "better" in asked, "feedback": "too short"}))
    if "You plan the work" in asked:
        plans = [{"task_number": n, "plan": f"plan {n} {digest}"} for n in (1, 2, 3)]
        return Turn(text=json.dumps({"plans": plans}))
    results = [message for message in messages if message["role"] == "tool"]
    if len(results) == 1 and READER in offered and "tool-result-" in asked:
        path = re.search(r"tool-result-[^/]+/result.md", asked)
        return Turn(tools=((READER, json.dumps({"file_path": path and path[0]})),))
    if offered == {"text_query"} and not results:
        query = json.dumps({"text": "many words " * 200, "pattern": "many", "limit": 100})
        return Turn(tools=(("text_query", query),), delay_s=0.01)
    if "delegate_work_to_coworker" in offered and not results:
        return Turn(tools=delegations(json.dumps(request["tools"])), delay_s=0.01)
    if request.get("tools") and not results:
        query = json.dumps({"text": "a b a", "pattern": "a"})
        return Turn(tools=(("calculator", '{"expression": "6 * 7"}'), ("text_query", query)), delay_s=0.01)
    if request.get("response_format") or "JSON" in json.dumps(messages):
        return Turn(text=json.dumps({"score": 0.5, "why": digest}), delay_s=0.01)
    better = "better " if "Previous attempt failed" in asked else ""
    return Turn(text=f"Final Answer: {better}text {digest}", delay_s=0.01)


def delegations(offered: str) -> tuple[tuple[str, str], ...]:
    """Two at once where there are two coworkers; one of them is asked, and the other has work to do."""
    coworkers = [name for name in ("The analyst", "The clerk", "Writer") if name in offered]
    work = json.dumps({"task": "Count", "context": "all", "coworker": coworkers[0]})
    question = json.dumps({"question": "How many?", "context": "all", "coworker": coworkers[-1]})
    return ("delegate_work_to_coworker", work), ("ask_question_to_coworker", question)
