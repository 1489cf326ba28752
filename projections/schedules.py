"""schedules: what runs when, when it ran last, and what became of slots that did not run."""

from __future__ import annotations

from datetime import datetime

import msgspec
from sqlalchemy import Index, MetaData, Table

from domain.definition import Json
from domain.plan import Plan
from domain.schedule import (
    RunFailed,
    ScheduleCreated,
    ScheduleDeleted,
    ScheduleRevised,
    ScheduleSummedUp,
    SlotsDecided,
)
from projections.database.shape import ReadDatabase
from projections.paging import DEFAULT_LIMIT, Document, Listing, Page, document
from projections.projection import Fact, Projection, Rows, timestamp
from projections.tables import ReadTable, doc, key, number, text

NAME = "schedules"


class ScheduleRow(msgspec.Struct, kw_only=True):
    """next_slot     when it runs next; null when it is off
    last_slot        the newest that ran, as last_execution_id
    queued           slots that wait for the run before them
    runs, skipped    slots that ran, and that were left out because a run went on
    missed           slots that passed unnoticed, and were not made up for
    error            why the newest run could not be begun
    """

    id: str
    tenant: str
    name: str
    workflow_id: str
    workflow_version: int | None
    inputs: dict[str, Json]
    cron: str
    timezone: str
    enabled: bool
    overlap: str
    catch_up: str
    next_slot: str | None
    last_slot: str | None = None
    last_execution_id: str | None = None
    queued: list[str] = []
    runs: int = 0
    skipped: int = 0
    missed: int = 0
    error: str | None = None
    created_at: str
    updated_at: str
    version: int
    position: int


SCHEDULES = ReadTable(
    ScheduleRow,
    Table(
        NAME,
        MetaData(),
        key("id"),
        text("tenant"),
        text("workflow_id"),
        number("version"),
        number("position"),
        doc(),
        Index("by_position", "tenant", "position"),
    ),
    category="schedule",
)


def fold(rows: Rows, fact: Fact) -> None:
    match fact.event:
        case ScheduleCreated(plan=plan, next_slot=slot):
            rows.put(SCHEDULES, new_row(plan, slot, fact))
        case ScheduleRevised(plan=plan, next_slot=slot):
            revise(rows.change(SCHEDULES, fact.entity_id), plan, slot, fact)
        case SlotsDecided() as event:
            decided(rows.change(SCHEDULES, fact.entity_id), event, fact)
        case RunFailed(message=message):
            row = rows.change(SCHEDULES, fact.entity_id)
            row.error, row.version = message, fact.version
        case ScheduleDeleted():
            rows.remove(SCHEDULES, fact.entity_id)
        case ScheduleSummedUp() if rows.get(SCHEDULES, fact.entity_id) is not None:
            rows.change(SCHEDULES, fact.entity_id).version = fact.version


def new_row(plan: Plan, slot: datetime | None, fact: Fact) -> ScheduleRow:
    return ScheduleRow(
        id=fact.entity_id,
        tenant=fact.tenant,
        **{name: getattr(plan, name) for name in plan.__struct_fields__},
        next_slot=moment(slot),
        created_at=fact.at,
        updated_at=fact.at,
        version=fact.version,
        position=fact.position,
    )


def revise(row: ScheduleRow, plan: Plan, slot: datetime | None, fact: Fact) -> None:
    for name in plan.__struct_fields__:
        setattr(row, name, getattr(plan, name))
    row.next_slot, row.queued, row.error = moment(slot), [], None
    row.updated_at, row.version = fact.at, fact.version


def decided(row: ScheduleRow, event: SlotsDecided, fact: Fact) -> None:
    row.next_slot, row.version = moment(event.next_slot), fact.version
    row.queued = [timestamp(slot) for slot in event.queued]
    row.skipped += len(event.skipped)
    row.missed += event.missed
    if event.run is not None:
        row.last_slot, row.last_execution_id = moment(event.run), event.execution_id
        row.runs, row.error = row.runs + 1, None


def moment(slot: datetime | None) -> str | None:
    return timestamp(slot) if slot else None


SCHEDULES_PROJECTION = Projection(NAME, 1, (SCHEDULES,), fold, ("schedule",))


async def list_schedules(
    read_db: ReadDatabase,
    tenant: str,
    *,
    workflow_id: str | None = None,
    limit: int = DEFAULT_LIMIT,
    cursor: str | None = None,
) -> Page:
    """Oldest first."""
    listing = Listing(NAME, tenant, {"position": int})
    listing.equal("workflow_id", workflow_id)
    return await listing.page(read_db, limit, cursor)


async def get_schedule(read_db: ReadDatabase, tenant: str, schedule_id: str) -> Document:
    """Raises `NotFound`."""
    return await document(read_db, "schedule", NAME, tenant, id=schedule_id)


async def all_schedules(read_db: ReadDatabase) -> list[ScheduleRow]:
    """Of all tenants."""
    rows = await read_db.fetch(f"SELECT doc FROM {NAME}")  # noqa: S608 - our own name
    return [_decode(row[0]) for row in rows]


_decode = msgspec.json.Decoder(ScheduleRow).decode
