"""What an execution was at a version or at a time, and what changed between two versions.

Queries on the stored events of `execution_history`, folded with the domain's own `evolve`. Their one rule:
they read page by page, so that the longest history takes the memory of one page and one state.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncIterator
from datetime import datetime
from typing import Any, cast

import msgspec

from domain.errors import Archived, NotFound
from domain.execution import (
    EXECUTION,
    CallReused,
    Execution,
    ExecutionEvents,
    ModelCallCompleted,
    Status,
    ToolCallCompleted,
    ToolCallFailed,
)
from domain.registry import decoded
from projections.database.shape import ReadDatabase
from projections.differences import Change, differences
from projections.execution_history import NAME, HistoryEntry
from projections.execution_list import absent
from projections.money import usd
from projections.paging import Document, refuse
from projections.projection import timestamp

PAGE = 500

_entry = msgspec.json.Decoder(HistoryEntry).decode


class Moment(msgspec.Struct, frozen=True, kw_only=True):
    """A version of an execution: where in the log it came about, and when."""

    version: int
    position: int
    at: str
    status: Status | None


class Spent(msgspec.Struct, kw_only=True):
    """What calls have cost: model calls that were answered, tool calls that have ended.

    reused_calls, saved_usd  of a fork: calls that were answered from its past, and what they had cost then
    """

    model_calls: int = 0
    tool_calls: int = 0
    prompt_tokens: int = 0
    completion_tokens: int = 0
    cost_usd: float = 0.0
    reused_calls: int = 0
    saved_usd: float = 0.0

    def add(self, event: ExecutionEvents) -> None:
        match event:
            case ModelCallCompleted():
                self.model_calls += 1
                self.prompt_tokens += event.prompt_tokens
                self.completion_tokens += event.completion_tokens
                self.cost_usd = usd(self.cost_usd + event.cost_usd)
            case ToolCallCompleted() | ToolCallFailed():
                self.tool_calls += 1
            case CallReused():
                self.reused_calls += 1
                self.saved_usd = usd(self.saved_usd + event.cost_usd)


class StateAt(msgspec.Struct, frozen=True, kw_only=True):
    """state: the aggregate as `evolve` folds it; what `decide` would decide on."""

    execution_id: str
    version: int
    position: int
    at: str
    state: Execution


class VersionsDiff(msgspec.Struct, frozen=True, kw_only=True, tag_field="compares", tag="versions"):
    """What happened to one execution between two of its versions.

    changes  of the state; events: how many of each type lie between; spent: by them
    """

    execution_id: str
    from_version: Moment = msgspec.field(name="from")
    to_version: Moment = msgspec.field(name="to")
    changes: tuple[Change, ...]
    events: dict[str, int]
    spent: Spent


async def entries_of(
    read_db: ReadDatabase, tenant: str, execution_id: str, *, after: int = 0, to: int | None = None
) -> AsyncIterator[tuple[HistoryEntry, ExecutionEvents]]:
    """The stored events of an execution behind one version, up to another; a page at a time."""
    query = (
        f"SELECT doc FROM {NAME} WHERE execution_id = :id AND tenant = :tenant "  # noqa: S608 - our own names
        f"AND version > :after AND version <= :to ORDER BY version LIMIT {PAGE}"
    )
    last = 2**62 if to is None else to
    while rows := await read_db.fetch(
        query, {"id": execution_id, "tenant": tenant, "after": after, "to": last}
    ):
        for (doc,) in rows:
            entry = _entry(doc)
            yield entry, cast("ExecutionEvents", decoded(entry.type, entry.data, entry.position))
            after = entry.version


async def get_state(
    read_db: ReadDatabase,
    tenant: str,
    execution_id: str,
    *,
    version: int | None = None,
    at: datetime | None = None,
) -> Document:
    """The state at a version, at a time (of the last event recorded by then), or now.

    Raises `NotFound` for what the execution never was, `Archived`, `Invalid` when both are given.
    """
    if version is not None and at is not None:
        refuse("at", "expected either version or at, not both")
    if at is not None:
        version = await version_at(read_db, tenant, execution_id, at)
    state, newest = EXECUTION.initial, None
    async for entry, event in entries_of(read_db, tenant, execution_id, to=version):
        state, newest = EXECUTION.evolve(state, event), entry
    if newest is None:
        raise await absent(read_db, tenant, execution_id)
    last = reached(execution_id, newest, version)
    found = StateAt(
        execution_id=execution_id, version=last.version, position=last.position, at=last.at, state=state
    )
    return Document(msgspec.json.encode(found), last.version)


async def version_at(read_db: ReadDatabase, tenant: str, execution_id: str, at: datetime) -> int:
    """The last version that was recorded by then. Raises `NotFound` before the first."""
    query = (
        f"SELECT max(version) FROM {NAME} "  # noqa: S608 - our own names
        "WHERE execution_id = :id AND tenant = :tenant AND at <= :at"
    )
    rows = await read_db.fetch(query, {"id": execution_id, "tenant": tenant, "at": timestamp(at)})
    version: int | None = rows[0][0]
    if version is None:
        why = await absent(read_db, tenant, execution_id)
        never = NotFound(f"there was no execution {execution_id!r} at {timestamp(at)}")
        raise why if isinstance(why, Archived) else never
    return version


async def diff_versions(
    read_db: ReadDatabase, tenant: str, execution_id: str, before: int, after: int | None
) -> VersionsDiff:
    """From one version (0: nothing yet) to a later one, or to the newest. Raises `NotFound`, `Invalid`."""
    if after is not None and before > after:
        refuse("from", f"expected a version before {after}, that of `to`")
    state = first = EXECUTION.initial
    begin = newest = None
    events: Counter[str] = Counter()
    spent = Spent()
    async for entry, event in entries_of(read_db, tenant, execution_id, to=after):
        state, newest = EXECUTION.evolve(state, event), entry
        if entry.version <= before:
            first, begin = state, entry
        else:
            events[entry.type] += 1
            spent.add(event)
    if newest is None:
        raise await absent(read_db, tenant, execution_id)
    last = reached(execution_id, newest, after)
    if before:
        reached(execution_id, begin, before)
    return VersionsDiff(
        execution_id=execution_id,
        from_version=moment(begin, first),
        to_version=moment(last, state),
        changes=tuple(differences(plain(first), plain(state))),
        events=dict(events),
        spent=spent,
    )


def reached(execution_id: str, last: HistoryEntry | None, version: int | None) -> HistoryEntry:
    """The entry of a version. Raises `NotFound` where the history ends before it."""
    if last is None:
        raise NotFound(f"there is no execution {execution_id!r}")
    if version is not None and last.version != version:
        raise NotFound(f"execution {execution_id!r} has no version {version}: it is at {last.version}")
    return last


def moment(entry: HistoryEntry | None, state: Execution) -> Moment:
    if entry is None:
        return Moment(version=0, position=0, at="", status=None)
    return Moment(version=entry.version, position=entry.position, at=entry.at, status=state.status)


def plain(value: Any) -> Any:
    """As JSON has it."""
    return msgspec.json.decode(msgspec.json.encode(value))
