"""open_steps: the steps that a runner should have or has, of executions that have not ended.

Asked by the dispatcher, which queues again what the work queue has lost.
"""

from __future__ import annotations

from datetime import datetime

import msgspec
from sqlalchemy import Index, MetaData, Table

from domain.execution import (
    ApprovalRejected,
    ExecutionAdmitted,
    ExecutionCancelled,
    ExecutionCompleted,
    ExecutionFailed,
    ExecutionHeld,
    ExecutionPaused,
    ExecutionRequested,
    ExecutionRetried,
    ExecutionTimedOut,
    StepCompleted,
    StepFailed,
    StepReleased,
    StepScheduled,
    StepStarted,
    StepSuspended,
)
from domain.slots import SlotsGranted, SlotsRequested, SlotsReturned
from projections.database.shape import ReadDatabase
from projections.projection import Fact, Projection, Rows, later, tags, timestamp
from projections.tables import ReadTable, doc, key, text

NAME = "open_steps"


class OpenStep(msgspec.Struct, kw_only=True):
    """
    status      scheduled or running; waiting (suspended or paused) only while `is_draining`: its attempt was
                told to let go and has not yet
    since       when it became so
    runner      of its newest attempt, while that runs or drains
    not_before  of one that is scheduled with a delay
    """

    execution_id: str
    tenant: str
    step: str
    turn: int
    attempt: int = 0
    delivery: int = 0
    queue: str = "default"
    priority: int = 5
    status: str
    runner: str | None = None
    since: str
    is_draining: bool = False
    not_before: str | None = None

    @property
    def is_with_runner(self) -> bool:
        return self.status == "running" or self.is_draining


class Slot(msgspec.Struct, kw_only=True):
    """What an execution with a concurrency limit asks for. stage: held, asked (for), granted, admitted, or
    ended: it is to be returned. order: the position at which it was held, or has ended."""

    slots_id: str
    stage: str
    order: int = 0
    limit: int = 0
    priority: int = 5


class OpenExecution(msgspec.Struct):
    """An execution that has not ended, or still has a slot to return; and its open steps.

    timeout_s  the limit of its time, if any
    """

    execution_id: str
    tenant: str
    steps: dict[str, OpenStep]
    slot: Slot | None = None
    timeout_s: float | None = None

    @property
    def slots_id(self) -> str | None:
        return self.slot.slots_id if self.slot else None

    @property
    def oldest_since(self) -> str | None:
        """None while no step is open."""
        return min((step.since for step in self.steps.values()), default=None)


OPEN = ReadTable(
    OpenExecution,
    Table(
        NAME,
        MetaData(),
        key("execution_id"),
        text("tenant"),
        text("oldest_since"),
        text("slots_id"),
        doc(),
        Index("by_age", "oldest_since", "execution_id"),
        Index("by_slots", "slots_id", "execution_id"),
    ),
    category="execution",
)
READ = tags(
    ExecutionRequested,
    ExecutionRetried,
    ExecutionHeld,
    ExecutionAdmitted,
    StepScheduled,
    StepStarted,
    StepCompleted,
    StepFailed,
    StepSuspended,
    StepReleased,
    ApprovalRejected,
    ExecutionPaused,
    ExecutionCompleted,
    ExecutionFailed,
    ExecutionCancelled,
    ExecutionTimedOut,
    SlotsRequested,
    SlotsGranted,
    SlotsReturned,
)


def fold(rows: Rows, fact: Fact) -> None:
    if fact.tag not in READ:
        return
    match fact.event:
        case ExecutionRequested(definition=document):
            limit_s = document.limits.timeout_s
            rows.put(OPEN, OpenExecution(fact.entity_id, fact.tenant, {}, timeout_s=limit_s))
        case ExecutionRetried(timeout_s=limit_s):
            rows.put(OPEN, OpenExecution(fact.entity_id, fact.tenant, {}, timeout_s=limit_s))
        case StepScheduled() | StepStarted() as event:
            steps = rows.change(OPEN, fact.entity_id).steps
            steps[event.step] = open_step(event, fact, steps.get(event.step))
        case StepCompleted(step=step) | StepFailed(step=step):
            rows.change(OPEN, fact.entity_id).steps.pop(step, None)
        case ApprovalRejected() as event if event.retried:
            row = rows.change(OPEN, fact.entity_id)
            row.steps = {name: step for name, step in row.steps.items() if not event.sends_back(name)}
        case StepSuspended(step=step):
            let_go(rows, fact, step)
        case StepReleased(step=step):
            released(rows, fact, step)
        case ExecutionPaused():
            for step in list(rows.change(OPEN, fact.entity_id).steps):
                let_go(rows, fact, step)
        case ExecutionCompleted() | ExecutionFailed() | ExecutionCancelled() | ExecutionTimedOut():
            end(rows, fact)
        case ExecutionHeld(slots_id=slots_id, limit=limit, priority=priority):
            rows.change(OPEN, fact.entity_id).slot = Slot(
                slots_id=slots_id, stage="held", order=fact.position, limit=limit, priority=priority
            )
        case ExecutionAdmitted():
            reach(rows, fact.entity_id, "admitted")
        case SlotsRequested() | SlotsGranted() | SlotsReturned() as event:
            change_slots(rows, fact, event)


def end(rows: Rows, fact: Fact) -> None:
    """A slot that was asked for outlives its execution until it is returned."""
    row = rows.change(OPEN, fact.entity_id)
    if row.slot is None or row.slot.stage == "held":
        rows.remove(OPEN, fact.entity_id)
    else:
        row.slot.stage, row.slot.order = "ended", fact.position
        row.steps.clear()


def change_slots(rows: Rows, fact: Fact, event: SlotsRequested | SlotsGranted | SlotsReturned) -> None:
    match event:
        case SlotsRequested(requests=requests):
            for request in requests:
                if rows.get(OPEN, request.execution_id) is None:  # it was asked for too late
                    slot = Slot(slots_id=fact.entity_id, stage="ended", order=fact.position)
                    rows.put(OPEN, OpenExecution(request.execution_id, fact.tenant, {}, slot))
                reach(rows, request.execution_id, "asked")
        case SlotsGranted(executions=executions):
            for execution_id in executions:
                reach(rows, execution_id, "granted")
        case SlotsReturned(executions=executions):
            for execution_id in executions:
                row = rows.get(OPEN, execution_id)
                if row is not None and row.slot is not None and row.slot.stage == "ended":
                    rows.remove(OPEN, execution_id)


def reach(rows: Rows, execution_id: str, stage: str) -> None:
    """The next stage of an execution's slot; one that is to be returned stays so."""
    row = rows.get(OPEN, execution_id)
    if row is not None and row.slot is not None and row.slot.stage != "ended":
        rows.change(OPEN, execution_id).slot = msgspec.structs.replace(row.slot, stage=stage)


def let_go(rows: Rows, fact: Fact, step: str) -> None:
    """Nothing should have the step any more; its runner may take a while."""
    steps = rows.change(OPEN, fact.entity_id).steps
    if (row := steps.get(step)) is not None and row.is_with_runner:
        row.status, row.is_draining, row.since = "waiting", True, fact.at
    else:
        steps.pop(step, None)


def released(rows: Rows, fact: Fact, step: str) -> None:
    steps = rows.change(OPEN, fact.entity_id).steps
    if (row := steps.get(step)) is not None:
        row.is_draining, row.runner = False, row.runner if row.status == "running" else None
        if row.status == "waiting":
            del steps[step]


def open_step(event: StepScheduled | StepStarted, fact: Fact, before: OpenStep | None) -> OpenStep:
    """Scheduled again while the attempt before still lets go, or begun by the next."""
    started = event if isinstance(event, StepStarted) else None
    draining = before if started is None and before is not None and before.is_draining else None
    place = event if isinstance(event, StepScheduled) else before
    return OpenStep(
        execution_id=fact.entity_id,
        tenant=fact.tenant,
        step=event.step,
        turn=event.turn,
        attempt=started.attempt if started else 0,
        delivery=started.delivery if started else 0,
        queue=place.queue if place else "default",
        priority=place.priority if place else 5,
        status="running" if started else "scheduled",
        runner=started.runner if started else (draining.runner if draining else None),
        since=fact.at,
        is_draining=draining is not None,
        not_before=later(fact.at, event.delay_s)
        if isinstance(event, StepScheduled) and event.delay_s
        else None,
    )


OPEN_STEPS = Projection(NAME, 8, (OPEN,), fold, ("execution", "slots"), is_refolded=False)


async def open_steps(
    read_db: ReadDatabase, *, since_before: datetime | None = None, limit: int = 1_000
) -> list[OpenStep]:
    """Open steps of all tenants, the longest open first; those that became so before a moment.

    limit: executions that are looked at; ask again after some have ended.
    """
    bound = timestamp(since_before) if since_before else "~"
    rows = await read_db.fetch(
        "SELECT doc FROM open_steps WHERE oldest_since < :bound "
        "ORDER BY oldest_since, execution_id LIMIT :limit",
        {"bound": bound, "limit": limit},
    )
    executions = [_decode(row[0]) for row in rows]
    steps = [step for execution in executions for step in execution.steps.values() if step.since < bound]
    return sorted(steps, key=lambda step: (step.since, step.execution_id, step.step))


async def open_slots(read_db: ReadDatabase) -> list[OpenExecution]:
    """Every execution that asks for a slot, has one, or has one to return."""
    rows = await read_db.fetch("SELECT doc FROM open_steps WHERE slots_id IS NOT NULL", {})
    return [_decode(row[0]) for row in rows]


async def limited_executions(read_db: ReadDatabase) -> list[OpenExecution]:
    """Every open execution, of all tenants, whose time is limited."""
    rows = await read_db.fetch("SELECT doc FROM open_steps")
    return [execution for row in rows if (execution := _decode(row[0])).timeout_s is not None]


_decode = msgspec.json.Decoder(OpenExecution).decode
