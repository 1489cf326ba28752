"""Request bodies for the API document, written by hand; tests send each of them."""

from __future__ import annotations

BLOG: dict[str, object] = {
    "name": "Blog production",
    "description": "Research a topic of an industry, write about it, edit the text",
    "inputs": {"industry": {"type": "string"}, "tone": {"type": "string", "default": "friendly"}},
    "agents": {
        "researcher": {
            "role": "Researcher",
            "goal": "Find what is new in {industry}",
            "backstory": "Ten years of reading the trade press",
        },
        "writer": {"role": "Writer", "goal": "Write in a {tone} tone", "backstory": "Plain words"},
    },
    "tasks": {
        "research": {
            "agent": "researcher",
            "description": "Find three developments in {industry}",
            "expected_output": "Three points, one line each",
        },
        "write": {
            "agent": "writer",
            "description": "Write an article about them",
            "expected_output": "At most 300 words",
            "context": ["research"],
        },
    },
    "limits": {"max_attempts": 3},
}

START_SAVED: dict[str, object] = {
    "workflow_id": "blog-production",
    "inputs": {"industry": "solar power", "tone": "dry"},
}

START_INLINE: dict[str, object] = {"definition": BLOG, "inputs": {"industry": "solar power"}}

FORK: dict[str, object] = {
    "at": 2,
    "overrides": {
        "agents": {"writer": {"backstory": "A former judge of headlines"}},
        "tasks": {"write": {"description": "Write an article about them, with a headline"}},
    },
}

WHAT_IF: dict[str, object] = {"overrides": {"agents": {"writer": {"backstory": "Loves headlines"}}}}

ENTRIES: dict[str, tuple[str, dict[str, object]]] = {
    "models": (
        "openai/gpt-4o-mini",
        {"description": "Small and fast", "temperature": 0.2, "timeout_s": 60, "context_window": 128_000},
    ),
    "tools": (
        "calculator",
        {
            "description": "Works an arithmetic expression out",
            "parameters": {"type": "object", "properties": {"expression": {"type": "string"}}},
            "idempotent": True,
        },
    ),
    "schemas": (
        "Headline",
        {"schema": {"type": "object", "properties": {"text": {"type": "string"}}, "required": ["text"]}},
    ),
    "templates": ("house_style", {"text": "Write short sentences.", "description": "For every writer"}),
}
"""By kind: a name, and the body that sets it."""
