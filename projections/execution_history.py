"""execution_history: every event of every execution, as it was recorded, with who, when and why."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec
from sqlalchemy import MetaData, Table

from domain.execution import ExecutionArchived
from domain.message import Recorded, tag_of
from projections.database.shape import ReadDatabase
from projections.execution_list import absent
from projections.paging import DEFAULT_LIMIT, Listing, Page
from projections.projection import Fact, Projection, Rows, timestamp
from projections.tables import ReadTable, doc, key, text

NAME = "execution_history"
ARCHIVED = tag_of(ExecutionArchived)


class HistoryEntry(msgspec.Struct, kw_only=True):
    """version: 1.. within the execution. data: the event, as it is in the log."""

    version: int
    position: int
    type: str
    at: str
    actor: str
    event_id: str
    command_id: str
    correlation_id: str
    causation_id: str | None
    traceparent: str | None
    data: msgspec.Raw


class HistoryRow(msgspec.Struct):
    execution_id: str
    tenant: str
    entry: HistoryEntry

    @property
    def version(self) -> int:
        return self.entry.version

    @property
    def type(self) -> str:
        return self.entry.type

    @property
    def at(self) -> str:
        return self.entry.at


HISTORY = ReadTable(
    HistoryRow,
    Table(
        NAME,
        MetaData(),
        key("execution_id"),
        key("version", is_number=True),
        text("tenant"),
        text("type"),
        text("at"),
        doc(),
    ),
    written_once=True,
    render=lambda row: msgspec.json.encode(row.entry),
)


def fold(rows: Rows, fact: Fact) -> None:
    if fact.tag == ARCHIVED:
        rows.remove_all(HISTORY, fact.entity_id)
        return
    rows.put(HISTORY, HistoryRow(fact.entity_id, fact.tenant, entry_of(fact.recorded)))


def entry_of(recorded: Recorded) -> HistoryEntry:
    metadata = recorded.metadata
    return HistoryEntry(
        version=recorded.version,
        position=recorded.position,
        type=recorded.tag,
        at=timestamp(metadata.at),
        actor=metadata.actor,
        event_id=metadata.event_id,
        command_id=metadata.command_id,
        correlation_id=metadata.correlation_id,
        causation_id=metadata.causation_id,
        traceparent=metadata.traceparent,
        data=msgspec.Raw(recorded.body),
    )


EXECUTION_HISTORY = Projection(NAME, 3, (HISTORY,), fold, ("execution",))


async def list_history(
    read_db: ReadDatabase,
    tenant: str,
    execution_id: str,
    *,
    after_version: int | None = None,
    type: Sequence[str] = (),
    contains: str | None = None,
    limit: int = DEFAULT_LIMIT,
    cursor: str | None = None,
) -> Page:
    """In the order in which it happened. Raises `NotFound`, `Archived` for an execution without one.

    type      stored tags: only events of one of them
    contains  only events whose JSON holds this text, upper and lower case apart
    """
    listing = Listing(NAME, tenant, {"version": int})
    listing.equal("execution_id", execution_id)
    listing.beyond("version", after_version)
    listing.one_of("type", type)
    listing.holds("doc", contains and msgspec.json.encode(contains)[1:-1].decode())
    page = await listing.page(read_db, limit, cursor)
    if page.items_json == b"[]" and not await exists(read_db, tenant, execution_id):
        raise await absent(read_db, tenant, execution_id)
    return page


async def exists(read_db: ReadDatabase, tenant: str, execution_id: str) -> bool:
    first = f"SELECT 1 FROM {NAME} WHERE execution_id = :id AND version = 1 AND tenant = :tenant"  # noqa: S608
    return bool(await read_db.fetch(first, {"id": execution_id, "tenant": tenant}))
