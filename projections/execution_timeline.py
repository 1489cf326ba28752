"""execution_timeline: steps, tasks, model and tool calls of an execution, with time, tokens and cost."""

from __future__ import annotations

from typing import Any

import msgspec
from sqlalchemy import Index, MetaData, Table

from domain.errors import NotFound
from domain.execution import (
    CallReused,
    Content,
    ExecutionCancelled,
    ExecutionCompleted,
    ExecutionFailed,
    ModelCallCompleted,
    ModelCallFailed,
    ModelCallStarted,
    Origin,
    RouteChosen,
    StepCompleted,
    StepFailed,
    StepReused,
    StepStarted,
    TaskCompleted,
    TaskFailed,
    TaskReused,
    TaskStarted,
    ToolCallCompleted,
    ToolCallFailed,
    ToolCallStarted,
)
from projections.database.shape import ReadDatabase
from projections.paging import DEFAULT_LIMIT, Listing, Page, is_storable
from projections.projection import Fact, Projection, Rows, milliseconds_between
from projections.tables import ReadTable, doc, key, number, text

NAME = "execution_timeline"


class Text(msgspec.Struct):
    """A text of a call. is_stored: it is too long for its event; `GET /v1/contents/{digest}` has it whole."""

    digest: str
    size_bytes: int
    is_stored: bool


class Entry(msgspec.Struct, kw_only=True):
    """A bar of the timeline.

    kind      step (one attempt of it), router, task, model_call or tool_call
    entry     its id within the execution
    status    running, completed, failed, interrupted: its attempt or execution ended before it did; or, of a
              fork, reused: it was not done, but taken from its past
    origin    of a reused call: where it was made, and answered; its tokens and cost are those of then
    model     that was asked; once there is an answer, that answered
    input     of a call: the messages, or the arguments; output: what came back
    position  of the event that began it: the order of the timeline
    """

    execution_id: str
    tenant: str
    entry: str
    kind: str
    status: str = "running"
    step: str
    attempt: int
    task: str | None = None
    agent: str | None = None
    runner: str | None = None
    model: str | None = None
    tool: str | None = None
    route: str | None = None
    started_at: str
    ended_at: str | None = None
    duration_ms: int | None = None
    prompt_tokens: int | None = None
    completion_tokens: int | None = None
    cost_usd: float | None = None
    error: str | None = None
    input: Text | None = None
    output: Text | None = None
    origin: Origin | None = None
    position: int


class Run(msgspec.Struct):
    """open: entries that are running, and the step of each."""

    execution_id: str
    tenant: str
    open: dict[str, str]


ENTRIES = ReadTable(
    Entry,
    Table(
        NAME,
        MetaData(),
        key("execution_id"),
        key("entry"),
        text("tenant"),
        number("position"),
        doc(),
        Index("by_position", "execution_id", "position"),
    ),
)
RUNS = ReadTable(
    Run,
    Table("execution_timeline_runs", MetaData(), key("execution_id"), text("tenant"), doc()),
    category="execution",
)


def fold(rows: Rows, fact: Fact) -> None:
    if fact.version == 1:
        rows.put(RUNS, Run(fact.entity_id, fact.tenant, {}))
    match fact.event:
        case StepStarted() as e:
            interrupt(rows, fact, e.step)
            begin(rows, fact, f"step:{e.step}:{e.attempt}", "step", e, runner=e.runner)
        case RouteChosen() as e:
            rows.put(ENTRIES, routed(e, fact))
        case TaskStarted() as e:
            begin(rows, fact, task_entry(e), "task", e, task=e.task, agent=e.agent)
        case ModelCallStarted() as e:
            begin(rows, fact, f"call:{e.call}", "model_call", e, model=e.model, **called(e, e.request))
        case ToolCallStarted() as e:
            begin(rows, fact, f"call:{e.call}", "tool_call", e, tool=e.tool, **called(e, e.arguments))
        case TaskCompleted() as e:
            end(rows, fact, task_entry(e), duration_ms=e.duration_ms)
        case TaskFailed() as e:
            end(rows, fact, task_entry(e), duration_ms=e.duration_ms, error=e.failure.message)
        case ModelCallCompleted() as e:
            answered(rows, fact, e)
        case CallReused() as e:
            rows.put(ENTRIES, reused_call(fact, e))
        case TaskReused() as e:
            rows.put(ENTRIES, reused_entry(fact, f"task:{e.step}:0:{e.task}", "task", e.step, task=e.task))
        case StepReused() as e:
            rows.put(ENTRIES, reused_entry(fact, f"step:{e.step}:0", "step", e.step))
        case ToolCallCompleted() as e:
            end(rows, fact, f"call:{e.call}", duration_ms=e.duration_ms)
            rows.change(ENTRIES, fact.entity_id, f"call:{e.call}").output = text_of(e.result)
        case ModelCallFailed() | ToolCallFailed() as e:
            end(rows, fact, f"call:{e.call}", duration_ms=e.duration_ms, error=e.failure.message)
        case StepCompleted() as e:
            end(rows, fact, f"step:{e.step}:{e.attempt}")
            interrupt(rows, fact, e.step)
        case StepFailed() as e:
            end(rows, fact, f"step:{e.step}:{e.attempt}", error=e.failure.message)
            interrupt(rows, fact, e.step)
        case ExecutionCompleted() | ExecutionFailed() | ExecutionCancelled():
            interrupt(rows, fact)


def routed(event: RouteChosen, fact: Fact) -> Entry:
    return Entry(
        execution_id=fact.entity_id,
        tenant=fact.tenant,
        entry=f"step:{event.step}:0",
        kind="router",
        status="completed",
        step=event.step,
        attempt=0,
        route=event.then,
        started_at=fact.at,
        ended_at=fact.at,
        duration_ms=0,
        position=fact.position,
    )


def task_entry(event: TaskStarted | TaskCompleted | TaskFailed) -> str:
    return f"task:{event.step}:{event.attempt}:{event.task}"


def called(event: ModelCallStarted | ToolCallStarted, asked: Content) -> dict[str, Any]:
    """What the entries of both kinds of calls have in common."""
    return {"task": event.task, "agent": event.agent, "input": text_of(asked)}


def text_of(content: Content) -> Text:
    return Text(content.digest, content.size_bytes, content.is_stored)


def begin(
    rows: Rows,
    fact: Fact,
    entry: str,
    kind: str,
    event: StepStarted | TaskStarted | ModelCallStarted | ToolCallStarted,
    **fields: Any,
) -> None:
    row = Entry(
        execution_id=fact.entity_id,
        tenant=fact.tenant,
        entry=entry,
        kind=kind,
        step=event.step,
        attempt=event.attempt,
        started_at=fact.at,
        position=fact.position,
        **fields,
    )
    rows.put(ENTRIES, row)
    rows.change(RUNS, fact.entity_id).open[entry] = event.step


def reused_call(fact: Fact, event: CallReused) -> Entry:
    return reused_entry(
        fact,
        f"call:{event.call}",
        "model_call" if event.model else "tool_call",
        event.step,
        attempt=event.attempt,
        task=event.task,
        agent=event.agent,
        model=event.model,
        tool=event.tool,
        origin=event.origin,
        prompt_tokens=event.prompt_tokens if event.model else None,
        completion_tokens=event.completion_tokens if event.model else None,
        cost_usd=event.cost_usd if event.model else None,
    )


def reused_entry(fact: Fact, entry: str, kind: str, step: str, *, attempt: int = 0, **fields: Any) -> Entry:
    """What took no time."""
    return Entry(
        execution_id=fact.entity_id,
        tenant=fact.tenant,
        entry=entry,
        kind=kind,
        status="reused",
        step=step,
        attempt=attempt,
        started_at=fact.at,
        ended_at=fact.at,
        duration_ms=0,
        position=fact.position,
        **fields,
    )


def end(
    rows: Rows, fact: Fact, entry: str, *, duration_ms: int | None = None, error: str | None = None
) -> None:
    row = rows.change(ENTRIES, fact.entity_id, entry)
    row.status = "completed" if error is None else "failed"
    row.error, row.ended_at = error, fact.at
    row.duration_ms = milliseconds_between(row.started_at, fact.at) if duration_ms is None else duration_ms
    rows.change(RUNS, fact.entity_id).open.pop(entry, None)


def answered(rows: Rows, fact: Fact, event: ModelCallCompleted) -> None:
    end(rows, fact, f"call:{event.call}", duration_ms=event.duration_ms)
    row = rows.change(ENTRIES, fact.entity_id, f"call:{event.call}")
    row.model, row.cost_usd = event.model, event.cost_usd
    row.output = text_of(event.response)
    row.prompt_tokens, row.completion_tokens = event.prompt_tokens, event.completion_tokens


def interrupt(rows: Rows, fact: Fact, step: str | None = None) -> None:
    """What is still open ended with its attempt; without `step`, with the execution."""
    run = rows.change(RUNS, fact.entity_id)
    for entry in [entry for entry, of in run.open.items() if step in (None, of)]:
        end(rows, fact, entry)
        rows.change(ENTRIES, fact.entity_id, entry).status = "interrupted"


EXECUTION_TIMELINE = Projection(NAME, 2, (ENTRIES, RUNS), fold, ("execution",))


async def list_timeline(
    read_db: ReadDatabase,
    tenant: str,
    execution_id: str,
    *,
    limit: int = DEFAULT_LIMIT,
    cursor: str | None = None,
) -> Page:
    """In the order in which things began. Raises `NotFound` for an unknown execution."""
    listing = Listing(NAME, tenant, {"position": int})
    listing.equal("execution_id", execution_id)
    page = await listing.page(read_db, limit, cursor)
    if page.items_json == b"[]" and not await exists(read_db, tenant, execution_id):
        raise NotFound(f"there is no execution {execution_id!r}")
    return page


async def exists(read_db: ReadDatabase, tenant: str, execution_id: str) -> bool:
    run = "SELECT 1 FROM execution_timeline_runs WHERE execution_id = :id AND tenant = :tenant"
    return is_storable(execution_id) and bool(
        await read_db.fetch(run, {"id": execution_id, "tenant": tenant})
    )
