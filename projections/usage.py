"""usage: model calls, tokens and cost per day (UTC), model and workflow."""

from __future__ import annotations

from datetime import date

import msgspec
from sqlalchemy import Index, MetaData, Table

from domain.execution import (
    CallReused,
    ExecutionArchived,
    ExecutionCancelled,
    ExecutionCompleted,
    ExecutionFailed,
    ExecutionRequested,
    ExecutionTimedOut,
    ModelCallCompleted,
    ModelCallFailed,
    ModelCallStarted,
    StepCompleted,
    StepFailed,
)
from projections.database.shape import ReadDatabase
from projections.money import usd
from projections.paging import DEFAULT_LIMIT, Listing, Page
from projections.projection import Fact, Projection, Rows, tags
from projections.reserving import Reserved, reserved_by
from projections.tables import ReadTable, doc, key, text

NAME = "usage"


class Usage(msgspec.Struct, kw_only=True):
    """
    workflow_id   "" for inline definitions
    calls         answered; failed_calls: not
    reused_calls  of forks, that were not made: what they cost then is saved_usd, their tokens saved_tokens
    reserved_*    for calls under way that began on this day
    """

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
    reserved_tokens: int = 0
    reserved_usd: float = 0.0


class Call(Reserved):
    """A call under way. day: on which it began."""

    day: str


class Running(msgspec.Struct):
    """An execution that has not ended for good. calls: those under way."""

    execution_id: str
    tenant: str
    workflow_id: str
    workflow_name: str
    calls: dict[str, Call]


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
    StepCompleted,
    StepFailed,
    ExecutionCompleted,
    ExecutionFailed,
    ExecutionCancelled,
    ExecutionTimedOut,
    ExecutionArchived,
)


def fold(rows: Rows, fact: Fact) -> None:
    if fact.tag not in READ:
        return
    match fact.event:
        case ExecutionRequested() as e:
            workflow = (e.workflow_id, e.definition.name) if e.workflow_id else ("", "")
            rows.put(RUNNING, Running(fact.entity_id, fact.tenant, *workflow, calls={}))
        case ModelCallStarted() as e:
            begun(rows, fact, e)
        case ModelCallCompleted() as e:
            give_back(rows, fact, e.call)
            usage = usage_of(rows, fact, e.model)
            usage.calls += 1
            usage.prompt_tokens += e.prompt_tokens
            usage.completion_tokens += e.completion_tokens
            usage.cost_usd = usd(usage.cost_usd + e.cost_usd)
            usage.duration_ms += e.duration_ms
        case ModelCallFailed() as e:
            call = give_back(rows, fact, e.call)
            usage_of(rows, fact, call.model if call else "").failed_calls += 1
        case CallReused(model=str() as model) as e:
            usage = usage_of(rows, fact, model)
            usage.reused_calls += 1
            usage.saved_tokens += e.prompt_tokens + e.completion_tokens
            usage.saved_usd = usd(usage.saved_usd + e.cost_usd)
        case StepCompleted() | StepFailed() as e:
            give_all_back(rows, fact, e.step)
        case ExecutionCompleted() | ExecutionFailed() | ExecutionCancelled() | ExecutionTimedOut():
            give_all_back(rows, fact)
            if not isinstance(fact.event, ExecutionFailed | ExecutionTimedOut):  # they may be retried
                rows.remove(RUNNING, fact.entity_id)
        case ExecutionArchived():
            rows.remove(RUNNING, fact.entity_id)


def begun(rows: Rows, fact: Fact, event: ModelCallStarted) -> None:
    give_back(rows, fact, event.call)
    held = reserved_by(event)
    call = Call(held.step, held.model, held.tokens, held.cost_usd, day=fact.at[:10])
    rows.change(RUNNING, fact.entity_id).calls[event.call] = call
    hold(usage_of(rows, fact, call.model), call.tokens, call.cost_usd)


def give_all_back(rows: Rows, fact: Fact, step: str | None = None) -> None:
    """Of a step that has ended; without one, of all."""
    calls = rows.change(RUNNING, fact.entity_id).calls
    for call in [call for call, each in calls.items() if step in (None, each.step)]:
        give_back(rows, fact, call)


def give_back(rows: Rows, fact: Fact, name: str) -> Call | None:
    """What was reserved for a call, to the day on which it began."""
    call = rows.change(RUNNING, fact.entity_id).calls.pop(name, None)
    if call is not None:
        hold(usage_of(rows, fact, call.model, call.day), -call.tokens, -call.cost_usd)
    return call


def hold(usage: Usage, tokens: int, cost_usd: float) -> None:
    usage.reserved_tokens += tokens
    usage.reserved_usd = usd(usage.reserved_usd + cost_usd)


def usage_of(rows: Rows, fact: Fact, model: str, day: str | None = None) -> Usage:
    """The row of a model on a day; without one, on the day of the fact."""
    running = rows.change(RUNNING, fact.entity_id)
    where = (running.tenant, day or fact.at[:10], model, running.workflow_id)
    if rows.get(USAGE, *where) is None:
        new = Usage(
            tenant=where[0],
            day=where[1],
            model=model,
            workflow_id=running.workflow_id,
            workflow_name=running.workflow_name,
        )
        rows.put(USAGE, new)
    return rows.change(USAGE, *where)


USAGE_PROJECTION = Projection(NAME, 7, (USAGE, RUNNING), fold, ("execution",), is_refolded=False)


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
