"""approvals: what people are asked, what is shown to them, and what they said."""

from __future__ import annotations

import msgspec
from sqlalchemy import Index, MetaData, Table

from domain.execution import (
    ApprovalGiven,
    ApprovalRejected,
    ApprovalRequested,
    ExecutionArchived,
    ExecutionCancelled,
    ExecutionCompleted,
    ExecutionFailed,
    ExecutionRequested,
    ExecutionTimedOut,
    Shown,
    StepResolved,
    TaskOutput,
)
from projections.database.shape import ReadDatabase
from projections.paging import DEFAULT_LIMIT, Document, Listing, Page, document
from projections.projection import Fact, Projection, Rows, tags
from projections.tables import ReadTable, doc, key, number, text

NAME = "approvals"


class Decision(msgspec.Struct, kw_only=True):
    """What one of those who may has said. edits: outputs that they put in place of those shown."""

    by: str
    decision: str
    at: str
    comment: str = ""
    edits: dict[str, TaskOutput] = {}


class ApprovalRow(msgspec.Struct, kw_only=True):
    """status: pending, approved, rejected, retried (the work before it runs again, and it is asked again), or
    withdrawn: the execution ended before it was decided.

    id         within the execution
    digest     of what is shown: a decision names it
    approvals  how many have to agree
    """

    execution_id: str
    id: str
    tenant: str
    execution_name: str
    workflow_id: str | None
    workflow_name: str
    step: str
    status: str = "pending"
    message: str
    shown: tuple[Shown, ...]
    digest: str
    approvers: tuple[str, ...]
    approvals: int
    require_comment: bool
    decisions: list[Decision]
    requested_at: str
    decided_at: str | None = None
    version: int
    position: int


class Asking(msgspec.Struct, kw_only=True):
    """An execution that has not ended. pending: the ids of its open approvals, by step."""

    execution_id: str
    tenant: str
    name: str
    workflow_id: str | None
    workflow_name: str
    pending: dict[str, str]


APPROVALS = ReadTable(
    ApprovalRow,
    Table(
        NAME,
        MetaData(),
        key("execution_id"),
        key("id"),
        text("tenant"),
        text("status"),
        number("version"),
        number("position"),
        doc(),
        Index("by_status", "tenant", "status", "position"),
        Index("by_position", "tenant", "position"),
    ),
)
ASKING = ReadTable(
    Asking,
    Table("approvals_asking", MetaData(), key("execution_id"), text("tenant"), doc()),
    category="execution",
)
ENDS = tags(ExecutionCompleted, ExecutionFailed, ExecutionCancelled, ExecutionTimedOut)
READ = ENDS | tags(
    ExecutionRequested, ApprovalRequested, ApprovalGiven, ApprovalRejected, StepResolved, ExecutionArchived
)


def fold(rows: Rows, fact: Fact) -> None:
    if fact.tag not in READ:
        return
    match fact.event:
        case ExecutionRequested() as e:
            if any(step.approval for step in e.definition.graph.values()):
                rows.put(ASKING, asking(e, fact))
        case ApprovalRequested() as e:
            rows.put(APPROVALS, asked(e, rows.change(ASKING, fact.entity_id), fact))
        case ApprovalGiven() as e:
            given(rows.change(APPROVALS, fact.entity_id, e.approval), e, fact)
        case ApprovalRejected() as e:
            decided(rows, fact, e.step, "retried" if e.retried else "rejected", rejection(e, fact))
        case StepResolved(step=step):
            decided(rows, fact, step, "approved")
        case ExecutionArchived():
            rows.remove_all(APPROVALS, fact.entity_id)
            rows.remove(ASKING, fact.entity_id)
        case _ if (left := rows.get(ASKING, fact.entity_id)) is not None:
            for step in tuple(left.pending):
                decided(rows, fact, step, "withdrawn")
            if not isinstance(fact.event, ExecutionFailed | ExecutionTimedOut):  # they may be retried
                rows.remove(ASKING, fact.entity_id)


def asking(event: ExecutionRequested, fact: Fact) -> Asking:
    return Asking(
        execution_id=fact.entity_id,
        tenant=fact.tenant,
        name=event.name,
        workflow_id=event.workflow_id,
        workflow_name=event.definition.name,
        pending={},
    )


def asked(event: ApprovalRequested, of: Asking, fact: Fact) -> ApprovalRow:
    of.pending[event.step] = event.approval
    return ApprovalRow(
        execution_id=fact.entity_id,
        id=event.approval,
        tenant=fact.tenant,
        execution_name=of.name,
        workflow_id=of.workflow_id,
        workflow_name=of.workflow_name,
        step=event.step,
        message=event.message,
        shown=event.shown,
        digest=event.digest,
        approvers=event.approvers,
        approvals=event.approvals,
        require_comment=event.require_comment,
        decisions=[],
        requested_at=fact.at,
        version=fact.version,
        position=fact.position,
    )


def given(row: ApprovalRow, event: ApprovalGiven, fact: Fact) -> None:
    row.decisions.append(
        Decision(by=event.by, decision="approve", at=fact.at, comment=event.comment, edits=event.edits)
    )
    row.version = fact.version
    if event.edits:
        row.digest = event.digest
        row.shown = tuple(
            msgspec.structs.replace(shown, output=event.edits[shown.task], is_cut=False)
            if shown.task in event.edits
            else shown
            for shown in row.shown
        )


def rejection(event: ApprovalRejected, fact: Fact) -> Decision:
    decision = "retry" if event.retried else "reject"
    return Decision(by=event.by, decision=decision, at=fact.at, comment=event.comment)


def decided(rows: Rows, fact: Fact, step: str, status: str, decision: Decision | None = None) -> None:
    """The step's open approval has come to its end; nothing for a step that has none."""
    of = rows.get(ASKING, fact.entity_id)
    approval = of.pending.get(step) if of else None
    if approval is None:
        return
    rows.change(ASKING, fact.entity_id).pending.pop(step)
    row = rows.change(APPROVALS, fact.entity_id, approval)
    row.status, row.decided_at, row.version = status, fact.at, fact.version
    if decision is not None:
        row.decisions.append(decision)


APPROVALS_PROJECTION = Projection(NAME, 3, (APPROVALS, ASKING), fold, ("execution",))


async def list_approvals(
    read_db: ReadDatabase,
    tenant: str,
    *,
    status: str | None = None,
    execution_id: str | None = None,
    limit: int = DEFAULT_LIMIT,
    cursor: str | None = None,
) -> Page:
    """Oldest first: who waits longest comes first."""
    listing = Listing(NAME, tenant, {"position": int})
    listing.equal("status", status)
    listing.equal("execution_id", execution_id)
    return await listing.page(read_db, limit, cursor)


async def get_approval(read_db: ReadDatabase, tenant: str, execution_id: str, approval_id: str) -> Document:
    """Raises `NotFound`."""
    return await document(read_db, "approval", NAME, tenant, execution_id=execution_id, id=approval_id)
