"""execution_list: every execution with its status, calls, tokens and cost, newest first.

Of one that was archived a row stays in a list of its own, which says where it went.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

import msgspec
from sqlalchemy import Index, MetaData, Table

from domain.errors import Archived, NotFound
from domain.execution import ArchivedFile, ExecutionArchived, ExecutionRequested, Status
from domain.message import tag_of
from projections.database.shape import ReadDatabase
from projections.execution_summary import change
from projections.paging import DEFAULT_LIMIT, Listing, Page, folded, is_storable
from projections.projection import Fact, Projection, Rows
from projections.summary_fields import ExecutionSummary, requested
from projections.tables import ReadTable, doc, key, text

NAME = "execution_list"
ARCHIVE_NAME = "execution_list_archived"
REQUESTED = tag_of(ExecutionRequested)
ARCHIVED = tag_of(ExecutionArchived)


class Archive(msgspec.Struct):
    """place, files: where the execution's events were written to; both empty where they were not."""

    at: str
    place: str
    files: tuple[ArchivedFile, ...]


class ExecutionRow(ExecutionSummary, kw_only=True):
    """archive: of one that has left every other read model."""

    archive: Archive | None = None

    @property
    def name_folded(self) -> str:
        return folded(self.name)

    @property
    def forked_from_id(self) -> str | None:
        return self.forked_from.execution_id if self.forked_from else None

    @property
    def parent_id(self) -> str | None:
        return self.parent.execution_id if self.parent else None


def table(name: str) -> Table:
    return Table(
        name,
        MetaData(),
        key("execution_id"),
        text("tenant"),
        text("created_at"),
        text("ended_at"),
        text("status"),
        text("workflow_id"),
        text("name_folded"),
        text("forked_from_id"),
        text("parent_id"),
        doc(),
        Index("by_time", "tenant", "created_at", "execution_id"),
        Index("by_status", "tenant", "status", "created_at", "execution_id"),
        Index("by_workflow", "tenant", "workflow_id", "created_at", "execution_id"),
        Index("by_origin", "tenant", "forked_from_id", "created_at", "execution_id"),
        Index("by_parent", "tenant", "parent_id", "created_at", "execution_id"),
        postgresql_with={"fillfactor": 70},
    )


EXECUTIONS = ReadTable(ExecutionRow, table(NAME), category="execution")
GONE = ReadTable(ExecutionRow, table(ARCHIVE_NAME))


def fold(rows: Rows, fact: Fact) -> None:
    if fact.tag == REQUESTED:
        rows.put(EXECUTIONS, ExecutionRow(**requested(fact.of(ExecutionRequested), fact)))
    elif fact.tag == ARCHIVED:
        archive(rows, fact)
    else:
        change(rows.change(EXECUTIONS, fact.entity_id), fact)


def archive(rows: Rows, fact: Fact) -> None:
    """It is archived once more where it had only been dropped."""
    event, known = fact.of(ExecutionArchived), rows.get(GONE, fact.entity_id)
    row = rows.change(EXECUTIONS, fact.entity_id) if known is None else rows.change(GONE, fact.entity_id)
    row.archive = Archive(fact.at, event.place, event.files)
    row.version, row.position = fact.version, fact.position
    if known is None:
        rows.remove(EXECUTIONS, fact.entity_id)
        rows.put(GONE, row)


EXECUTION_LIST = Projection(NAME, 9, (EXECUTIONS, GONE), fold, ("execution",))


async def list_executions(
    read_db: ReadDatabase,
    tenant: str,
    *,
    status: Sequence[Status] = (),
    workflow_id: str | None = None,
    name: str | None = None,
    forked_from: str | None = None,
    parent: str | None = None,
    created_after: datetime | None = None,
    created_before: datetime | None = None,
    ended_before: datetime | None = None,
    archived: bool = False,
    limit: int = DEFAULT_LIMIT,
    cursor: str | None = None,
) -> Page:
    """Newest first. name: a part of it, in upper or lower case. The times themselves are left out.

    archived  those that have left the other read models, and none else
    """
    listing = Listing(
        ARCHIVE_NAME if archived else NAME, tenant, {"created_at": str, "execution_id": str}, descending=True
    )
    listing.one_of("status", status)
    listing.equal("workflow_id", workflow_id)
    listing.equal("forked_from_id", forked_from)
    listing.equal("parent_id", parent)
    listing.contains("name_folded", name)
    listing.after("created_at", created_after)
    listing.before("created_at", created_before)
    listing.before("ended_at", ended_before)
    return await listing.page(read_db, limit, cursor)


async def absent(read_db: ReadDatabase, tenant: str, execution_id: str) -> NotFound:
    """Why an execution is not to be seen, to be raised: it was archived (`Archived`), or never was."""
    select = f"SELECT doc FROM {ARCHIVE_NAME} WHERE execution_id = :id AND tenant = :tenant"  # noqa: S608
    found = []
    if is_storable(execution_id):
        found = await read_db.fetch(select, {"id": execution_id, "tenant": tenant})
    if not found:
        return NotFound(f"there is no execution {execution_id!r}")
    archive = GONE.row_of(found[0][0]).archive
    if archive is None or not archive.files:
        where = "the log alone has it: its export and its audit bundle can still be asked for"
    else:
        files = ", ".join(f"{file.name} (SHA-256 {file.sha256})" for file in archive.files)
        where = f"in {archive.place}: {files}"
    return Archived(f"execution {execution_id!r} was archived at {archive.at if archive else ''}; {where}")
