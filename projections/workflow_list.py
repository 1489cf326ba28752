"""workflow_list: every workflow in its newest version, newest first."""

from __future__ import annotations

import msgspec
from sqlalchemy import Index, MetaData, Table

from domain.definition import Definition
from domain.workflow import WorkflowArchived, WorkflowCreated, WorkflowRevised
from projections.database.shape import ReadDatabase
from projections.paging import DEFAULT_LIMIT, Listing, Page, folded
from projections.projection import Fact, Projection, Rows
from projections.tables import ReadTable, doc, key, number, text

NAME = "workflow_list"


class WorkflowRow(msgspec.Struct, kw_only=True):
    """version: of the stream. definition_version: the newest that executions can run."""

    id: str
    tenant: str
    name: str
    description: str
    version: int
    definition_version: int
    agents: int
    tasks: int
    steps: int
    inputs: tuple[str, ...]
    is_archived: bool = False
    is_planted: bool
    created_at: str
    updated_at: str
    position: int

    @property
    def workflow_id(self) -> str:
        return self.id

    @property
    def archived(self) -> int:
        return int(self.is_archived)

    @property
    def name_folded(self) -> str:
        return folded(self.name)


WORKFLOWS = ReadTable(
    WorkflowRow,
    Table(
        NAME,
        MetaData(),
        key("workflow_id"),
        text("tenant"),
        text("created_at"),
        number("archived"),
        text("name_folded"),
        doc(),
        Index("by_time", "tenant", "created_at", "workflow_id"),
    ),
    category="workflow",
)


def fold(rows: Rows, fact: Fact) -> None:
    match fact.event:
        case WorkflowCreated(definition=definition, planted=planted):
            rows.put(WORKFLOWS, row_of(definition, fact, is_planted=planted, created_at=fact.at))
        case WorkflowRevised(definition=definition, planted=planted):
            row = rows.change(WORKFLOWS, fact.entity_id)
            planted = planted and row.is_planted
            rows.put(WORKFLOWS, row_of(definition, fact, is_planted=planted, created_at=row.created_at))
        case WorkflowArchived():
            row = rows.change(WORKFLOWS, fact.entity_id)
            row.is_archived, row.updated_at = True, fact.at
            row.version, row.position = fact.version, fact.position


def row_of(definition: Definition, fact: Fact, *, is_planted: bool, created_at: str) -> WorkflowRow:
    return WorkflowRow(
        id=fact.entity_id,
        tenant=fact.tenant,
        name=definition.name,
        description=definition.description,
        version=fact.version,
        definition_version=fact.version,
        agents=len(definition.agents),
        tasks=len(definition.tasks),
        steps=len(definition.graph),
        inputs=tuple(definition.inputs),
        is_planted=is_planted,
        created_at=created_at,
        updated_at=fact.at,
        position=fact.position,
    )


WORKFLOW_LIST = Projection(NAME, 1, (WORKFLOWS,), fold, ("workflow",))


async def list_workflows(
    read_db: ReadDatabase,
    tenant: str,
    *,
    name: str | None = None,
    is_archived: bool | None = None,
    limit: int = DEFAULT_LIMIT,
    cursor: str | None = None,
) -> Page:
    """Newest first. name: a part of it, in upper or lower case. is_archived None: both."""
    listing = Listing(NAME, tenant, {"created_at": str, "workflow_id": str}, descending=True)
    listing.contains("name_folded", name)
    listing.equal("archived", None if is_archived is None else int(is_archived))
    return await listing.page(read_db, limit, cursor)
