"""Names of subjects and of what goes into them.

Called by every module beside it. Its one rule: a token of a subject is `[A-Za-z0-9_=-]+`, and what was
encoded can be read back.
"""

from __future__ import annotations

import re
from functools import lru_cache

from application.ports import Work
from domain.message import Recorded

EVENTS = "KASAL_EVENTS"
"""The stream that holds the feed."""

WORK = "KASAL_STEPS"
"""The stream that holds what runners are to do."""

TIMERS = "KASAL_TIMERS"
"""The stream that holds what is to be done at a time."""

TIMERS_RING = "kasal.timers-ring"
"""Where the server says that a timer is due."""

WEBHOOKS = "KASAL_WEBHOOKS"
"""The stream that holds how far the delivery of webhooks has come."""

COMMANDS = "kasal.commands"
"""Where runners send their commands as requests."""

EVERY_CONTROL = "kasal.control.*"
"""What every runner listens to; see `control_subject`."""

_UNSAFE = re.compile(rb"[^A-Za-z0-9_-]")
_ESCAPE = re.compile(rb"=([0-9A-F]{2})")


def token(text: str) -> str:
    """`a.b` as `a=2Eb`: each UTF-8 byte beyond letters, digits, `_` and `-` as `=XX`; `=` stands for ""."""
    return _UNSAFE.sub(lambda match: b"=%02X" % match[0][0], text.encode()).decode() or "="


def text_of(encoded: str) -> str:
    """What `token` was given."""
    if encoded == "=":
        return ""
    return _ESCAPE.sub(lambda match: bytes([int(match[1], 16)]), encoded.encode()).decode()


def event_subject(recorded: Recorded) -> str:
    """`kasal.events.<tenant>.<category>.<id>.<event>`; the event of `execution.done.v2` is `done_v2`."""
    tenant, category, name = _words(recorded.metadata.tenant, recorded.category, recorded.tag)
    return f"kasal.events.{tenant}.{category}.{token(recorded.entity_id)}.{name}"


@lru_cache(maxsize=4096)
def _words(tenant: str, category: str, tag: str) -> tuple[str, str, str]:
    """What is the same in the subjects of many events."""
    return token(tenant), token(category), token(event_name(tag))


def event_filter(tag: str) -> str:
    """Every event with a tag, of every tenant; a tag begins with its category."""
    return f"kasal.events.*.{token(tag.partition('.')[0])}.*.{token(event_name(tag))}"


def event_name(tag: str) -> str:
    return (tag.partition(".")[2] or tag).replace(".", "_")


def work_subject(work: Work) -> str:
    """`kasal.steps.<queue>.<priority>.<execution>.<step>.<turn>`: the stream holds one message of each."""
    parts = (work.queue, str(work.priority), work.execution_id, work.step, str(work.turn))
    return "kasal.steps." + ".".join(token(part) for part in parts)


def work_filter(queue: str, priority: int) -> str:
    """All the work of one priority in one queue."""
    return f"kasal.steps.{token(queue)}.{priority}.>"


def offer_subject(work: Work) -> str:
    """`kasal.offers.<queue>.<execution>.<step>.<turn>`: ahead of the work, to the runners of its queue."""
    parts = (work.queue, work.execution_id, work.step, str(work.turn))
    return "kasal.offers." + ".".join(token(part) for part in parts)


def offer_filter(queue: str) -> str:
    return f"kasal.offers.{token(queue)}.>"


def timer_subject(which: str, kind: str, key: str) -> str:
    """`kasal.timers.set.<kind>.<key>` until it is due, `kasal.timers.due.<kind>.<key>` then; `*` is any."""
    names = (part if part == "*" else token(part) for part in (kind, key))
    return f"kasal.timers.{which}." + ".".join(names)


def control_subject(execution_id: str) -> str:
    """Where the runner of an execution hears that it has to stop."""
    return f"kasal.control.{token(execution_id)}"


def attendance_subject(runner: str) -> str:
    """Where a runner answers to its name."""
    return f"kasal.runners.{token(runner)}"


def tokens_subject(tenant: str, execution_id: str) -> str:
    """Where the tokens of a model's answer pass by while it is made; transient, never stored."""
    return f"kasal.tokens.{token(tenant)}.{token(execution_id)}"


def progress_subject(key: str, *, is_pattern: bool = False) -> str:
    """Where the delivery of a webhook says how far it is."""
    return f"kasal.webhooks.{key if is_pattern else token(key)}"
