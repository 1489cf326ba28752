"""execution_timeline: steps, tasks, model and tool calls of an execution, with time, tokens and cost."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from domain.execution import (
    ApprovalRejected,
    CallReused,
    CallSettled,
    Content,
    ExecutionArchived,
    ExecutionCancelled,
    ExecutionCompleted,
    ExecutionFailed,
    ExecutionTimedOut,
    ModelCallCompleted,
    ModelCallFailed,
    ModelCallStarted,
    RouteChosen,
    StepCompleted,
    StepFailed,
    StepReleased,
    StepResolved,
    StepReused,
    StepScheduled,
    StepStarted,
    StepSuspended,
    TaskCompleted,
    TaskFailed,
    TaskReused,
    TaskStarted,
    ToolCallCompleted,
    ToolCallFailed,
    ToolCallStarted,
)
from domain.message import tag_of
from projections.database.shape import ReadDatabase
from projections.execution_list import absent
from projections.paging import DEFAULT_LIMIT, Listing, Page, is_storable
from projections.projection import Fact, Projection, Rows, RowsAhead, milliseconds_between
from projections.timeline_rows import ENTRIES, NAME, RUNS, Entry, Run, Text

ARCHIVED = tag_of(ExecutionArchived)


def fold(rows: Rows, fact: Fact) -> None:
    if fact.version == 1:
        rows.put(RUNS, Run(fact.entity_id, fact.tenant, {}))
    if fact.tag == ARCHIVED:
        rows.remove_all(ENTRIES, fact.entity_id)
        rows.remove(RUNS, fact.entity_id)
    else:
        draw(rows, fact)


def draw(rows: Rows, fact: Fact) -> None:
    """Entries begin and end."""
    match fact.event:
        case StepScheduled() | StepResolved() | ApprovalRejected() as e:
            end_wait(rows, fact, e.step)
        case StepSuspended() as e:
            begin(rows, fact, f"wait:{e.step}:{fact.version}", "wait", e, wait_kind=e.wait.kind)
        case StepStarted() as e:
            interrupt(rows, fact, e.step)
            begin(rows, fact, f"step:{e.step}:{e.attempt}", "step", e, runner=e.runner)
        case RouteChosen() as e:
            entry = f"step:{e.step}:0:{fact.version}"
            rows.put(ENTRIES, at_once(fact, entry, "router", e.step, status="completed", route=e.then))
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
            rows.put(ENTRIES, at_once(fact, f"task:{e.step}:0:{e.task}", "task", e.step, task=e.task))
        case StepReused() as e:
            rows.put(ENTRIES, at_once(fact, f"step:{e.step}:0", "step", e.step))
        case ToolCallCompleted() as e:
            gave(rows, fact, e.call, e.result, e.duration_ms)
        case CallSettled(result=Content() as result) as e:
            gave(rows, fact, e.call, result)
        case ModelCallFailed() | ToolCallFailed() as e:
            end(rows, fact, f"call:{e.call}", duration_ms=e.duration_ms, error=e.failure.message)
        case StepCompleted() as e:
            end_wait(rows, fact, e.step)
            end(rows, fact, f"step:{e.step}:{e.attempt}")
            interrupt(rows, fact, e.step)
        case StepFailed() as e:
            end(rows, fact, f"step:{e.step}:{e.attempt}", error=e.failure.message)
            interrupt(rows, fact, e.step)
        case StepReleased() as e:
            interrupt(rows, fact, e.step)
        case ExecutionCompleted() | ExecutionFailed() | ExecutionCancelled() | ExecutionTimedOut():
            interrupt(rows, fact)


def gave(rows: Rows, fact: Fact, call: str, result: Content, duration_ms: int | None = None) -> None:
    """A tool's result, from the tool itself or from a person who has looked."""
    end(rows, fact, f"call:{call}", duration_ms=duration_ms)
    rows.change(ENTRIES, fact.entity_id, f"call:{call}").output = text_of(result)


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
    event: StepStarted | StepSuspended | TaskStarted | ModelCallStarted | ToolCallStarted,
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
    return at_once(
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


def at_once(
    fact: Fact, entry: str, kind: str, step: str, *, status: str = "reused", attempt: int = 0, **fields: Any
) -> Entry:
    """What took no time."""
    return Entry(
        execution_id=fact.entity_id,
        tenant=fact.tenant,
        entry=entry,
        kind=kind,
        status=status,
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
    if rows.get(ENTRIES, fact.entity_id, entry) is None:
        return  # an attempt that lets go may end a task that it was not allowed to begin
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
        if step is None or not entry.startswith("wait:"):
            end(rows, fact, entry)
            rows.change(ENTRIES, fact.entity_id, entry).status = "interrupted"


def end_wait(rows: Rows, fact: Fact, step: str) -> None:
    """What the step waited for has come."""
    for entry, of in list(rows.change(RUNS, fact.entity_id).open.items()):
        if of == step and entry.startswith("wait:"):
            end(rows, fact, entry)


def look_ahead(rows: RowsAhead, facts: Sequence[Fact]) -> None:
    """What is open is what may end: after a restart, a query for all of it in place of one for each entry."""
    executions = dict.fromkeys(fact.entity_id for fact in facts)
    runs = ((execution, rows.get(RUNS, execution)) for execution in executions)
    rows.read_ahead(ENTRIES, [(execution, entry) for execution, run in runs if run for entry in run.open])


EXECUTION_TIMELINE = Projection(NAME, 5, (ENTRIES, RUNS), fold, ("execution",), look_ahead=look_ahead)


async def list_timeline(
    read_db: ReadDatabase,
    tenant: str,
    execution_id: str,
    *,
    limit: int = DEFAULT_LIMIT,
    cursor: str | None = None,
) -> Page:
    """In the order in which things began. Raises `NotFound`, `Archived`."""
    listing = Listing(NAME, tenant, {"position": int})
    listing.equal("execution_id", execution_id)
    page = await listing.page(read_db, limit, cursor)
    if page.items_json == b"[]" and not await exists(read_db, tenant, execution_id):
        raise await absent(read_db, tenant, execution_id)
    return page


async def exists(read_db: ReadDatabase, tenant: str, execution_id: str) -> bool:
    run = "SELECT 1 FROM execution_timeline_runs WHERE execution_id = :id AND tenant = :tenant"
    return is_storable(execution_id) and bool(
        await read_db.fetch(run, {"id": execution_id, "tenant": tenant})
    )
