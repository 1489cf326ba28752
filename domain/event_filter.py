"""Which events somebody wants to hear of: by type, by the status that an execution gets, by workflow.

Used by streams and by webhook subscriptions. Its one rule: type and status are judged by an event's tag
alone, so that a filter gives the same events whenever and wherever it is applied.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import cache
from typing import Annotated

import msgspec

from domain.execution import Status

TYPE_PREFIX = "io.kasal."
"""What a CloudEvent's type has before the stored tag; filters take both spellings."""

EventType = Annotated[
    str,
    msgspec.Meta(
        min_length=1,
        max_length=100,
        description="A type such as `execution.completed`, or all of a kind: `execution.*`.",
    ),
]
FilterWorkflow = Annotated[
    str, msgspec.Meta(min_length=1, max_length=128, description="Only this workflow and its executions.")
]

NAMED_OTHERWISE = {
    Status.PENDING: ("execution.requested", "execution.resumed", "execution.retried"),
    Status.RUNNING: ("execution.step_started",),
    Status.WAITING: ("execution.step_suspended",),
}
"""Events that bring a status and are not called as it is (`execution.failed` brings FAILED)."""


class EventFilter(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What all of its fields allow; a field that is left out allows everything."""

    types: tuple[EventType, ...] = ()
    statuses: tuple[Status, ...] = ()
    workflow_id: FilterWorkflow | None = None


def status_tags(status: Status) -> tuple[str, ...]:
    """The events by which an execution gets a status; for RUNNING and WAITING each of its steps says so."""
    return NAMED_OTHERWISE.get(status, (f"execution.{status.lower()}",))


@cache
def wanted_tags(wanted: EventFilter) -> Callable[[str], bool]:
    """Whether an event's tag is one that the filter's types and statuses allow."""
    exact = frozenset(name for name in wanted.types if not name.endswith(".*"))
    kinds = tuple(name[:-1] for name in wanted.types if name.endswith(".*"))
    statuses = frozenset(tag for status in wanted.statuses for tag in status_tags(status))

    def allows(tag: str) -> bool:
        is_of_type = not wanted.types or tag in exact or tag.startswith(kinds)
        return is_of_type and (not statuses or tag in statuses)

    return allows


def stored_types(names: Iterable[str]) -> tuple[str, ...]:
    """The names of types as events are stored under them: without the prefix of CloudEvents, each once."""
    return tuple(dict.fromkeys(name.removeprefix(TYPE_PREFIX) for name in names))


def unknown_types(names: Iterable[str], known: Iterable[str]) -> list[str]:
    """Those of the names that no event can have."""
    tags = tuple(known)
    return [name for name in names if not any(is_named(name, tag) for tag in tags)]


def is_named(name: str, tag: str) -> bool:
    return tag.startswith(name[:-1]) if name.endswith(".*") else tag == name
