"""workflow_detail: one workflow with its document, and every version it has had."""

from __future__ import annotations

import msgspec
from sqlalchemy import MetaData, Table

from domain.definition import Definition
from domain.errors import NotFound
from domain.workflow import WorkflowArchived, WorkflowCreated, WorkflowRevised
from projections.database.shape import ReadDatabase
from projections.paging import DEFAULT_LIMIT, Document, Listing, Page, document
from projections.projection import Fact, Projection, Rows
from projections.tables import ReadTable, doc, key, number, text

NAME = "workflow_detail"
VERSIONS_NAME = "workflow_detail_versions"


class WorkflowDetail(msgspec.Struct, kw_only=True):
    """version: of the stream. definition_version: that of `definition`, the newest."""

    id: str
    tenant: str
    name: str
    version: int
    definition_version: int
    is_archived: bool = False
    is_planted: bool
    created_at: str
    updated_at: str
    position: int
    definition: Definition

    @property
    def workflow_id(self) -> str:
        return self.id


class WorkflowVersion(msgspec.Struct, kw_only=True):
    """What was saved as one version, by whom and when."""

    workflow_id: str
    tenant: str
    version: int
    actor: str
    at: str
    is_planted: bool
    definition: Definition


DETAILS = ReadTable(
    WorkflowDetail,
    Table(NAME, MetaData(), key("workflow_id"), text("tenant"), number("version"), doc()),
    category="workflow",
)
VERSIONS = ReadTable(
    WorkflowVersion,
    Table(
        VERSIONS_NAME, MetaData(), key("workflow_id"), key("version", is_number=True), text("tenant"), doc()
    ),
    written_once=True,
)


def fold(rows: Rows, fact: Fact) -> None:
    match fact.event:
        case WorkflowCreated() as event:
            rows.put(DETAILS, new_detail(event, fact))
            rows.put(VERSIONS, new_version(event, fact))
        case WorkflowRevised() as event:
            row = touched(rows, fact)
            row.name, row.definition = event.definition.name, event.definition
            row.definition_version = fact.version
            row.is_planted = row.is_planted and event.planted
            rows.put(VERSIONS, new_version(event, fact))
        case WorkflowArchived():
            touched(rows, fact).is_archived = True


def touched(rows: Rows, fact: Fact) -> WorkflowDetail:
    row = rows.change(DETAILS, fact.entity_id)
    row.version, row.position, row.updated_at = fact.version, fact.position, fact.at
    return row


def new_detail(event: WorkflowCreated, fact: Fact) -> WorkflowDetail:
    return WorkflowDetail(
        id=fact.entity_id,
        tenant=fact.tenant,
        name=event.definition.name,
        version=fact.version,
        definition_version=fact.version,
        is_planted=event.planted,
        created_at=fact.at,
        updated_at=fact.at,
        position=fact.position,
        definition=event.definition,
    )


def new_version(event: WorkflowCreated | WorkflowRevised, fact: Fact) -> WorkflowVersion:
    return WorkflowVersion(
        workflow_id=fact.entity_id,
        tenant=fact.tenant,
        version=fact.version,
        actor=fact.recorded.metadata.actor,
        at=fact.at,
        is_planted=event.planted,
        definition=event.definition,
    )


WORKFLOW_DETAIL = Projection(NAME, 1, (DETAILS, VERSIONS), fold, ("workflow",))


async def get_workflow(read_db: ReadDatabase, tenant: str, workflow_id: str) -> Document:
    """Raises `NotFound`."""
    return await document(read_db, "workflow", NAME, tenant, workflow_id=workflow_id)


async def get_version(read_db: ReadDatabase, tenant: str, workflow_id: str, version: int) -> Document:
    """Raises `NotFound`: also for a version that only archived the workflow."""
    return await document(
        read_db, "workflow version", VERSIONS_NAME, tenant, workflow_id=workflow_id, version=version
    )


async def list_versions(
    read_db: ReadDatabase,
    tenant: str,
    workflow_id: str,
    *,
    limit: int = DEFAULT_LIMIT,
    cursor: str | None = None,
) -> Page:
    """Newest first. Raises `NotFound` for an unknown workflow."""
    listing = Listing(VERSIONS_NAME, tenant, {"version": int}, descending=True)
    listing.equal("workflow_id", workflow_id)
    page = await listing.page(read_db, limit, cursor)
    if page.items_json == b"[]" and cursor is None:
        raise NotFound(f"there is no workflow {workflow_id!r}")
    return page
