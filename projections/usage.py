"""usage: model calls, tokens and cost per day (UTC), model and workflow."""

from __future__ import annotations

from datetime import date

import msgspec
from sqlalchemy import Index, MetaData, Table

from domain.execution import (
    CallReused,
    ExecutionCancelled,
    ExecutionCompleted,
    ExecutionFailed,
    ExecutionRequested,
    ExecutionTimedOut,
    ModelCallCompleted,
    ModelCallFailed,
    ModelCallStarted,
)
from projections.database.shape import ReadDatabase
from projections.paging import DEFAULT_LIMIT, Listing, Page
from projections.projection import Fact, Projection, Rows, tags
from projections.tables import ReadTable, doc, key, text

NAME = "usage"


class Usage(msgspec.Struct, kw_only=True):
    """workflow_id: "" for inline definitions. calls: answered; failed_calls: not; reused_calls: of forks,
    that were not made: what they cost then is saved_usd, and their tokens are saved_tokens."""

    tenant: str
    day: str
    model: str
    workflow_id: str
    workflow_name: str
    calls: int = 0
    failed_calls: int = 0
    prompt_tokens: int = 0
    completion_tokens: int = 0
    cost_usd: float = 0.0
    duration_ms: int = 0
    reused_calls: int = 0
    saved_tokens: int = 0
    saved_usd: float = 0.0


class Running(msgspec.Struct):
    """An execution that has not ended. calls: those under way, and the model of each."""

    execution_id: str
    tenant: str
    workflow_id: str
    workflow_name: str
    calls: dict[str, str]


USAGE = ReadTable(
    Usage,
    Table(
        NAME,
        MetaData(),
        key("tenant"),
        key("day"),
        key("model"),
        key("workflow_id"),
        doc(),
        Index("by_workflow", "tenant", "workflow_id", "day"),
    ),
)
RUNNING = ReadTable(
    Running,
    Table("usage_running", MetaData(), key("execution_id"), text("tenant"), doc()),
    category="execution",
)
READ = tags(
    ExecutionRequested,
    ModelCallStarted,
    ModelCallCompleted,
    ModelCallFailed,
    CallReused,
    ExecutionCompleted,
    ExecutionFailed,
    ExecutionCancelled,
    ExecutionTimedOut,
)


def fold(rows: Rows, fact: Fact) -> None:
    if fact.tag not in READ:
        return
    match fact.event:
        case ExecutionRequested() as e:
            workflow = e.workflow_id or "", e.definition.name
            rows.put(RUNNING, Running(fact.entity_id, fact.tenant, *workflow, calls={}))
        case ModelCallStarted() as e:
            rows.change(RUNNING, fact.entity_id).calls[e.call] = e.model
        case ModelCallCompleted() as e:
            usage = usage_of(rows, fact, e.call, e.model)
            usage.calls += 1
            usage.prompt_tokens += e.prompt_tokens
            usage.completion_tokens += e.completion_tokens
            usage.cost_usd += e.cost_usd
            usage.duration_ms += e.duration_ms
        case ModelCallFailed() as e:
            usage_of(rows, fact, e.call).failed_calls += 1
        case CallReused(model=str() as model) as e:
            usage = usage_of(rows, fact, e.call, model)
            usage.reused_calls += 1
            usage.saved_tokens += e.prompt_tokens + e.completion_tokens
            usage.saved_usd += e.cost_usd
        case ExecutionCompleted() | ExecutionFailed() | ExecutionCancelled() | ExecutionTimedOut():
            rows.remove(RUNNING, fact.entity_id)


def usage_of(rows: Rows, fact: Fact, call: str, model: str | None = None) -> Usage:
    """The row that a call counts in; model: that answered, where one did."""
    running = rows.change(RUNNING, fact.entity_id)
    asked = running.calls.pop(call, "")
    where = (running.tenant, fact.at[:10], model or asked, running.workflow_id)
    if rows.get(USAGE, *where) is None:
        tenant, day, name, workflow_id = where
        new = Usage(
            tenant=tenant,
            day=day,
            model=name,
            workflow_id=workflow_id,
            workflow_name=running.workflow_name,
        )
        rows.put(USAGE, new)
    return rows.change(USAGE, *where)


USAGE_PROJECTION = Projection(NAME, 3, (USAGE, RUNNING), fold, ("execution",))


async def list_usage(
    read_db: ReadDatabase,
    tenant: str,
    *,
    first_day: date | None = None,
    last_day: date | None = None,
    model: str | None = None,
    workflow_id: str | None = None,
    limit: int = DEFAULT_LIMIT,
    cursor: str | None = None,
) -> Page:
    """Newest day first; both days belong to the answer. workflow_id "" asks for inline definitions."""
    order: dict[str, type[str] | type[int]] = {"day": str, "model": str, "workflow_id": str}
    listing = Listing(NAME, tenant, order, descending=True)
    listing.between("day", first_day, last_day)
    listing.equal("model", model)
    listing.equal("workflow_id", workflow_id)
    return await listing.page(read_db, limit, cursor)
