"""open_children: child executions whose parent has not heard yet that they have ended.

Asked by the dispatcher, which does again what may not have been done when it starts.
"""

from __future__ import annotations

import msgspec
from sqlalchemy import Index, MetaData, Table

from domain.execution import (
    ChildEnded,
    ChildRequested,
    ChildTold,
    ExecutionArchived,
    ExecutionRetried,
    child_execution_id,
)
from projections.database.shape import ReadDatabase
from projections.projection import Fact, Projection, Rows, tags
from projections.tables import ReadTable, doc, key, text

NAME = "open_children"


class OpenChild(msgspec.Struct):
    """child: its id within the parent. open_since: None while it has ended, and may be retried."""

    execution_id: str
    tenant: str
    parent_id: str
    child: str
    open_since: str | None


CHILDREN = ReadTable(
    OpenChild,
    Table(
        NAME,
        MetaData(),
        key("execution_id"),
        text("tenant"),
        text("open_since"),
        doc(),
        Index("by_age", "open_since", "execution_id"),
    ),
)
READ = tags(ChildRequested, ChildTold, ChildEnded, ExecutionRetried, ExecutionArchived)


def fold(rows: Rows, fact: Fact) -> None:
    if fact.tag not in READ:
        return
    match fact.event:
        case ChildRequested(child=child) | ChildTold(child=child):
            execution_id = child_execution_id(fact.entity_id, child)
            rows.put(CHILDREN, OpenChild(execution_id, fact.tenant, fact.entity_id, child, fact.at))
        case ChildEnded(child=child, status=status):
            execution_id = child_execution_id(fact.entity_id, child)
            if rows.get(CHILDREN, execution_id) is None:
                return
            if status in ("failed", "timed_out"):
                rows.change(CHILDREN, execution_id).open_since = None
            else:
                rows.remove(CHILDREN, execution_id)
        case ExecutionArchived():
            rows.remove(CHILDREN, fact.entity_id)
        case ExecutionRetried():
            if rows.get(CHILDREN, fact.entity_id) is not None:
                rows.change(CHILDREN, fact.entity_id).open_since = fact.at


OPEN_CHILDREN = Projection(NAME, 1, (CHILDREN,), fold, ("execution",))


async def open_children(read_db: ReadDatabase) -> list[OpenChild]:
    """Of all tenants, the longest open first."""
    rows = await read_db.fetch(
        "SELECT doc FROM open_children WHERE open_since IS NOT NULL ORDER BY open_since, execution_id"
    )
    return [_decode(row[0]) for row in rows]


_decode = msgspec.json.Decoder(OpenChild).decode
