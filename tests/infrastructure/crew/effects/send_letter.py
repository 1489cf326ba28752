"""send_letter: a tool with an effect, for tests; it is discovered like every other.

`EFFECTS` has what was sent, by idempotency key. Its one rule: what it does is what the letter says: `hang`
sends and never answers, `lose` sends and does not know.
"""

from __future__ import annotations

import threading

from infrastructure.tools import OutcomeUnknown, ToolContext, ToolSpec
from infrastructure.tools.spec import Arguments

EFFECTS: list[tuple[str, str]] = []
LET_GO = threading.Event()
"""What hangs ends with it."""


def send_letter(arguments: Arguments, context: ToolContext) -> str:
    text = str(arguments["text"])
    EFFECTS.append((text, context.idempotency_key))
    first = [sent for sent, _ in EFFECTS].count(text) == 1
    if first and "hang" in text:
        LET_GO.wait(60)
    if first and "lose" in text:
        raise OutcomeUnknown("send_letter: the answer was lost")
    return f"sent {text}"


TOOL = ToolSpec(
    name="send_letter",
    description="Send a letter.",
    parameters={
        "type": "object",
        "properties": {"text": {"type": "string"}},
        "required": ["text"],
        "additionalProperties": False,
    },
    run=send_letter,
    idempotent=False,
)
