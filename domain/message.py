"""The shapes that travel: commands in, events out, the envelope that records them, the aggregate triple.

Imported by every other module of the house. Its one rule: nothing here knows a clock, an id generator or a
wire.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Generic, TypeVar

import msgspec

from domain.errors import UnknownEvent


class Command(msgspec.Struct, frozen=True, kw_only=True, tag_field="type", forbid_unknown_fields=True):
    """A wish, in the imperative. Its `stream` names the one aggregate that decides on it."""

    @property
    def stream(self) -> str:
        """`<category>-<id>` of the aggregate that decides."""
        raise NotImplementedError


class Event(msgspec.Struct, frozen=True, kw_only=True, tag_field="type", omit_defaults=True):
    """A fact, in the past tense. Its msgspec tag (`execution.cancelled`) is what is stored, and is never
    renamed.

    A field added with a default is compatible; any other change is a new tag (`execution.cancelled.v2`) and
    an
    upcaster in `domain.registry`. Fields that equal their default are left out of the stored bytes.
    """


def tag_of(message: type[msgspec.Struct] | msgspec.Struct) -> str:
    """The stored tag of a message or message class, such as `execution.cancelled`."""
    tag = message.__struct_config__.tag
    if not isinstance(tag, str):
        raise UnknownEvent(f"{message!r} has no tag")
    return tag


class Metadata(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, gc=False):
    """What `handle` stamps on an event; domain events never carry it.

    event_id        UUIDv7, text
    at              when it was recorded, UTC
    tenant, actor   on whose ground, by whom ("user:…", "runner:…", "system:…")
    command_id      UUIDv7 of the command that caused it; the same for every event of one command
    correlation_id  the command that began the whole story
    causation_id    the event or command that directly led here
    traceparent     W3C Trace Context, as it came in
    """

    event_id: str
    at: datetime
    tenant: str
    actor: str
    command_id: str
    correlation_id: str
    causation_id: str | None = None
    traceparent: str | None = None


class Recorded(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """An event as the log holds it.

    position  1..n over the whole log, without a hole
    stream    `<category>-<id>`
    version   1..n within the stream, without a hole
    tag       the event's stored tag
    body      the event as JSON (UTF-8), exactly as stored; `domain.registry.event_of` decodes it
    """

    position: int
    stream: str
    version: int
    tag: str
    body: bytes
    metadata: Metadata

    @property
    def category(self) -> str:
        """`execution` of `execution-0190…`."""
        return self.stream.partition("-")[0]

    @property
    def entity_id(self) -> str:
        """`0190…` of `execution-0190…`."""
        return self.stream.partition("-")[2]


S = TypeVar("S")
C = TypeVar("C", bound=Command)
E = TypeVar("E", bound=Event)


@dataclass(frozen=True, slots=True)
class Aggregate(Generic[S, C, E]):
    """A decider: where it starts, what it decides, how it changes (J. Chassaing, "The Decider", 2021).

    decide  holds every rule; returns the new events, () when the wish is already fulfilled, or raises
            `Rejected`
    evolve  holds no rule; total over the aggregate's events
    sum_up  of streams without end: an event that says all that the state holds, from which alone `evolve`
            makes it again
    """

    category: str
    initial: S
    decide: Callable[[S, C], tuple[E, ...]]
    evolve: Callable[[S, E], S]
    commands: tuple[type[Command], ...]
    events: tuple[type[Event], ...]
    sum_up: Callable[[S], E] | None = None
