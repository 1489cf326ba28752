"""Large texts that no event names: sent ahead of a report that never came, or was refused.

Called by `kasal cleanup`. Its one rule: only of executions that ended before a moment, and only while their
streams stand as they were read: what is sent again after a retry follows an event of that, and is left alone.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import NamedTuple, Protocol

from domain.execution import EXECUTION, Execution, ExecutionArchived, ExecutionEvents, evolve
from domain.message import Recorded, tag_of
from domain.registry import event_of

OWNERS = 200
"""How many owners are looked up at once."""

DIGEST = re.compile(rb'"([0-9a-f]{64})"')
ARCHIVED = tag_of(ExecutionArchived)


class HeldContents(Protocol):
    """The rows of the store by their owners. Adapters: SQLite, PostgreSQL."""

    async def owners(self, after: str, limit: int) -> Sequence[str]:
        """The next ones, by their names."""
        ...

    async def sizes(self, owner: str) -> Mapping[str, int]:
        """By digest, the bytes that are stored of it, whole or not."""
        ...

    async def remove(self, owner: str, digests: Sequence[str], version: int) -> bool:
        """Nothing is removed, and False the answer, when the owner's stream is beyond that version."""
        ...


class Streams(Protocol):
    """The part of the log that is read: events as they were recorded."""

    async def read_stream(self, stream: str, after_version: int = 0) -> Sequence[Recorded]: ...


class Found(NamedTuple):
    """Contents that no event names."""

    contents: int = 0
    size_bytes: int = 0


async def remove_unnamed(
    log: Streams, held: HeldContents, before: datetime, *, is_dry_run: bool = False
) -> Found:
    """Those of executions that ended before a moment (with a zone). Safe beside a running system."""
    found, after = Found(), ""
    while owners := await held.owners(after, OWNERS):
        for owner in owners:
            more = await _removed_of(log, held, owner, before, is_dry_run=is_dry_run)
            found = Found(found.contents + more.contents, found.size_bytes + more.size_bytes)
        after = owners[-1]
    return found


async def _removed_of(
    log: Streams, held: HeldContents, owner: str, before: datetime, *, is_dry_run: bool
) -> Found:
    if not owner.startswith(f"{EXECUTION.category}-"):
        return Found()
    events = await log.read_stream(owner)
    if not has_ended(events, before):
        return Found()
    names = named_in(events)
    unnamed = {digest: size for digest, size in (await held.sizes(owner)).items() if digest not in names}
    if not unnamed:
        return Found()
    if not is_dry_run and not await held.remove(owner, tuple(unnamed), events[-1].version):
        return Found()
    return Found(len(unnamed), sum(unnamed.values()))


def has_ended(events: Sequence[Recorded], before: datetime) -> bool:
    """Whether an execution has ended, and nothing but its archiving has happened since a moment."""
    state = Execution()
    for recorded in events:
        if recorded.tag != ARCHIVED and recorded.metadata.at >= before:
            return False
        event = event_of(recorded)
        assert isinstance(event, ExecutionEvents)  # noqa: S101 - all of one stream
        state = evolve(state, event)
    return state.status is not None and not state.is_open


def named_in(events: Iterable[Recorded]) -> frozenset[str]:
    """Whatever looks like the digest of a content, wherever it stands."""
    return frozenset(digest.decode() for each in events for digest in DIGEST.findall(each.body))
