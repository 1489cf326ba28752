"""due_waits: the steps that wait until a moment, of executions that have not ended.

Asked by the dispatcher, which sets the timers again that a lost store has forgotten.
"""

from __future__ import annotations

from datetime import datetime, timedelta

import msgspec
from sqlalchemy import MetaData, Table

from domain.execution import (
    ApprovalRejected,
    ExecutionCancelled,
    ExecutionCompleted,
    ExecutionFailed,
    ExecutionTimedOut,
    StepResolved,
    StepSuspended,
)
from projections.database.shape import ReadDatabase
from projections.projection import Fact, Projection, Rows, tags, timestamp
from projections.tables import ReadTable, doc, key, text

NAME = "due_waits"


class Due(msgspec.Struct):
    wait_id: str
    due: str


class DueWaits(msgspec.Struct):
    """Of one execution, by step."""

    execution_id: str
    tenant: str
    waits: dict[str, Due]


DUE = ReadTable(
    DueWaits,
    Table(NAME, MetaData(), key("execution_id"), text("tenant"), doc()),
    category="execution",
)
ENDS = tags(ExecutionCompleted, ExecutionFailed, ExecutionCancelled, ExecutionTimedOut)
READ = tags(StepSuspended, StepResolved, ApprovalRejected) | ENDS


def fold(rows: Rows, fact: Fact) -> None:
    if fact.tag not in READ:
        return
    known = rows.get(DUE, fact.entity_id)
    match fact.event:
        case StepSuspended() as event if (due := end_of(event, fact)) is not None:
            if known is None:
                rows.put(DUE, DueWaits(fact.entity_id, fact.tenant, {}))
            rows.change(DUE, fact.entity_id).waits[event.step] = Due(event.wait.id, timestamp(due))
        case StepResolved(step=step) if known is not None:
            rows.change(DUE, fact.entity_id).waits.pop(step, None)
        case ApprovalRejected() as event if known is not None:
            waits = rows.change(DUE, fact.entity_id).waits
            for step in [name for name in waits if name == event.step or event.sends_back(name)]:
                del waits[step]
        case _ if fact.tag in ENDS:
            rows.remove(DUE, fact.entity_id)


def end_of(event: StepSuspended, fact: Fact) -> datetime | None:
    if event.wait.until is not None:
        return event.wait.until
    return fact.recorded.metadata.at + timedelta(seconds=event.wait.for_s) if event.wait.for_s else None


DUE_WAITS = Projection(NAME, 2, (DUE,), fold, ("execution",))


async def due_waits(read_db: ReadDatabase) -> list[DueWaits]:
    """Of all tenants."""
    rows = await read_db.fetch(f"SELECT doc FROM {NAME}")  # noqa: S608 - our own name
    return [_decode(row[0]) for row in rows]


_decode = msgspec.json.Decoder(DueWaits).decode
