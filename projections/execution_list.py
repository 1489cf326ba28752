"""execution_list: every execution with its status, calls, tokens and cost, newest first."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from sqlalchemy import Index, MetaData, Table

from domain.execution import ExecutionRequested, Status
from domain.message import tag_of
from projections.database.shape import ReadDatabase
from projections.execution_summary import ExecutionSummary, change, requested
from projections.paging import DEFAULT_LIMIT, Listing, Page, folded
from projections.projection import Fact, Projection, Rows
from projections.tables import ReadTable, doc, key, text

NAME = "execution_list"
REQUESTED = tag_of(ExecutionRequested)


class ExecutionRow(ExecutionSummary, kw_only=True):
    @property
    def name_folded(self) -> str:
        return folded(self.name)

    @property
    def forked_from_id(self) -> str | None:
        return self.forked_from.execution_id if self.forked_from else None


EXECUTIONS = ReadTable(
    ExecutionRow,
    Table(
        NAME,
        MetaData(),
        key("execution_id"),
        text("tenant"),
        text("created_at"),
        text("status"),
        text("workflow_id"),
        text("name_folded"),
        text("forked_from_id"),
        doc(),
        Index("by_time", "tenant", "created_at", "execution_id"),
        Index("by_status", "tenant", "status", "created_at", "execution_id"),
        Index("by_workflow", "tenant", "workflow_id", "created_at", "execution_id"),
        Index("by_parent", "tenant", "forked_from_id", "created_at", "execution_id"),
        postgresql_with={"fillfactor": 70},
    ),
    category="execution",
)


def fold(rows: Rows, fact: Fact) -> None:
    if fact.tag == REQUESTED:
        rows.put(EXECUTIONS, ExecutionRow(**requested(fact.of(ExecutionRequested), fact)))
    else:
        change(rows.change(EXECUTIONS, fact.entity_id), fact)


EXECUTION_LIST = Projection(NAME, 6, (EXECUTIONS,), fold, ("execution",))


async def list_executions(
    read_db: ReadDatabase,
    tenant: str,
    *,
    status: Sequence[Status] = (),
    workflow_id: str | None = None,
    name: str | None = None,
    forked_from: str | None = None,
    created_after: datetime | None = None,
    created_before: datetime | None = None,
    limit: int = DEFAULT_LIMIT,
    cursor: str | None = None,
) -> Page:
    """Newest first. name: a part of it, in upper or lower case. The times themselves are left out."""
    listing = Listing(NAME, tenant, {"created_at": str, "execution_id": str}, descending=True)
    listing.one_of("status", status)
    listing.equal("workflow_id", workflow_id)
    listing.equal("forked_from_id", forked_from)
    listing.contains("name_folded", name)
    listing.after("created_at", created_after)
    listing.before("created_at", created_before)
    return await listing.page(read_db, limit, cursor)
