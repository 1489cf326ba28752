"""execution_detail: one execution whole: its steps, inputs, output, failure and the document that it pins."""

from __future__ import annotations

import msgspec
from sqlalchemy import Index, MetaData, Table

from domain.definition import Definition, Json
from domain.execution import (
    BudgetRaised,
    ExecutionArchived,
    ExecutionCancelled,
    ExecutionCompleted,
    ExecutionFailed,
    ExecutionPaused,
    ExecutionRequested,
    ExecutionResumed,
    ExecutionRetried,
    ExecutionTimedOut,
    Failure,
    TaskOutput,
)
from domain.limits import Budget, DayBudget
from domain.message import tag_of
from projections.database.shape import ReadDatabase
from projections.detail_steps import (
    STEP_EVENTS,
    StepRow,
    change_step,
    end_steps,
    pause_steps,
    send_steps_back,
    step_of,
)
from projections.execution_list import absent
from projections.execution_summary import change
from projections.paging import Document, is_storable
from projections.projection import Fact, Projection, Rows, tags
from projections.reserving import RESERVING, Reserved, reserve, totals
from projections.summary_fields import ExecutionSummary, requested
from projections.tables import ReadTable, doc, key, number, text

NAME = "execution_detail"
REQUESTED = tag_of(ExecutionRequested)
PAUSED, RESUMED = tag_of(ExecutionPaused), tag_of(ExecutionResumed)
RETRIED = tag_of(ExecutionRetried)
RAISED = tag_of(BudgetRaised)
ARCHIVED = tag_of(ExecutionArchived)
ENDS = tags(ExecutionCompleted, ExecutionFailed, ExecutionCancelled, ExecutionTimedOut)


class ExecutionDetail(ExecutionSummary, kw_only=True):
    """
    reason    why it was cancelled, or is paused, in the words of whoever did it
    budget    the limits that hold now, on cost_usd, tokens and calls with what is reserved; per_day: those of
              the workflow and day
    reserved  by model call under way: what it can come to; reserved_tokens and reserved_usd: all of them
    """

    steps: list[StepRow]
    budget: Budget
    per_day: DayBudget | None = None
    reserved: dict[str, Reserved] = msgspec.field(default_factory=dict)
    reserved_tokens: int = 0
    reserved_usd: float = 0.0
    output: TaskOutput | None = None
    failure: Failure | None = None
    reason: str | None = None


class Pinned(msgspec.Struct, kw_only=True):
    """What was asked for; it never changes. models: that its agents may use."""

    inputs: dict[str, Json]
    agents: tuple[str, ...]
    tasks: tuple[str, ...]
    models: tuple[str, ...]
    default_model: str | None
    definition: Definition


class Child(msgspec.Struct):
    """A fork, and the version of its parent that it began at."""

    execution_id: str
    at: int


class ChildRow(msgspec.Struct):
    execution_id: str
    parent_id: str
    tenant: str
    child: Child


class PinnedRow(msgspec.Struct):
    execution_id: str
    tenant: str
    pinned: Pinned


DETAILS = ReadTable(
    ExecutionDetail,
    Table(NAME, MetaData(), key("execution_id"), text("tenant"), number("version"), doc()),
    category="execution",
)
PINNED = ReadTable(
    PinnedRow,
    Table("execution_detail_pinned", MetaData(), key("execution_id"), text("tenant"), doc()),
    written_once=True,
    render=lambda row: msgspec.json.encode(row.pinned),
)

CHILDREN = ReadTable(
    ChildRow,
    Table(
        "execution_detail_children",
        MetaData(),
        key("execution_id"),
        text("parent_id"),
        text("tenant"),
        doc(),
        Index("by_parent", "tenant", "parent_id", "execution_id"),
    ),
    written_once=True,
    render=lambda row: msgspec.json.encode(row.child),
)


def fold(rows: Rows, fact: Fact) -> None:
    if fact.tag == REQUESTED:
        event = fact.of(ExecutionRequested)
        rows.put(DETAILS, new_detail(event, fact))
        rows.put(PINNED, PinnedRow(fact.entity_id, fact.tenant, pinned(event)))
        if event.forked_from:
            child = Child(fact.entity_id, event.forked_from.at)
            rows.put(CHILDREN, ChildRow(fact.entity_id, event.forked_from.execution_id, fact.tenant, child))
        return
    if fact.tag == ARCHIVED:
        rows.remove(DETAILS, fact.entity_id)
        rows.remove(PINNED, fact.entity_id)
        rows.remove(CHILDREN, fact.entity_id)
        return
    row = rows.change(DETAILS, fact.entity_id)
    change(row, fact)
    if fact.tag in RESERVING:
        reserve(row.reserved, fact.event)
        row.reserved_tokens, row.reserved_usd = totals(row.reserved)
    if fact.tag in STEP_EVENTS:
        change_step(row.steps, fact)
    elif fact.tag == PAUSED:
        pause(row, fact)
    elif fact.tag == RESUMED:
        row.reason = None
    elif fact.tag == RETRIED:
        retry(row)
    elif fact.tag == RAISED:
        raised = fact.of(BudgetRaised)
        row.budget, row.per_day = raised.budget, raised.per_day or row.per_day
    elif fact.tag in ENDS:
        end(row, fact)


def new_detail(event: ExecutionRequested, fact: Fact) -> ExecutionDetail:
    steps = [StepRow(name) for name in event.definition.graph]
    limits = event.definition.limits
    return ExecutionDetail(
        **requested(event, fact), steps=steps, budget=limits.budget, per_day=limits.per_day
    )


def pinned(event: ExecutionRequested) -> Pinned:
    return Pinned(
        inputs=event.inputs,
        agents=tuple(event.definition.agents),
        tasks=tuple(event.definition.tasks),
        models=tuple(event.models),
        default_model=event.default_model,
        definition=event.definition,
    )


def pause(row: ExecutionDetail, fact: Fact) -> None:
    row.reason = fact.of(ExecutionPaused).reason or None
    pause_steps(row.steps, fact)


def retry(row: ExecutionDetail) -> None:
    row.failure = row.reason = None
    send_steps_back(row.steps)


def end(row: ExecutionDetail, fact: Fact) -> None:
    match fact.event:
        case ExecutionCompleted(output=output):
            row.output = output
        case ExecutionFailed(failure=failure, step=name):
            row.failure = failure
            if name is not None and (step := step_of(row.steps, name)).status != "failed":
                step.status, step.ended_at, step.error = "failed", fact.at, failure.message
        case ExecutionCancelled(reason=reason):
            row.reason = reason
    row.reserved, row.reserved_tokens, row.reserved_usd = {}, 0, 0.0
    end_steps(row.steps, fact)


EXECUTION_DETAIL = Projection(NAME, 10, (DETAILS, PINNED, CHILDREN), fold, ("execution",))


SELECT = """
SELECT detail.doc, detail.version, pinned.doc FROM execution_detail AS detail
JOIN execution_detail_pinned AS pinned ON pinned.execution_id = detail.execution_id
WHERE detail.tenant = :tenant AND detail.execution_id = :execution_id
UNION ALL
SELECT doc, 0, execution_id FROM (
    SELECT doc, execution_id FROM execution_detail_children
    WHERE tenant = :tenant AND parent_id = :execution_id ORDER BY execution_id LIMIT 100
) AS children
"""
"""The execution, and the documents of its forks, which have no version."""


async def get_execution(read_db: ReadDatabase, tenant: str, execution_id: str) -> Document:
    """With its first 100 forks; the list has them all. Raises `NotFound`, `Archived`."""
    rows = []
    if is_storable(execution_id):
        rows = await read_db.fetch(SELECT, {"tenant": tenant, "execution_id": execution_id})
    whole = [row for row in rows if row[1]]
    if not whole:
        raise await absent(read_db, tenant, execution_id)
    detail, version, rest = whole[0]
    forks = ",".join(doc for doc, is_whole, _ in sorted(rows, key=lambda row: str(row[2])) if not is_whole)
    text = f'{detail[:-1]},"children":[{forks}],{rest[1:]}'
    return Document(text.encode(), version, varies=bool(forks))
