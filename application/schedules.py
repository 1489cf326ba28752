"""Schedules: prepared as people wrote them, and run when their slots come.

The functions are called by the API; `ScheduleRuns` by `Alarms`, in every dispatcher. Its one rule: a slot is
decided by one event of its schedule, and begun under an id made of both; so whoever finds either half done
can do the other, and nobody does it twice.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from datetime import datetime

import msgspec

from application.commands import CommandHandler, Context
from application.cron import due_slots, next_slot, plan_faults
from application.documents import check, read_inputs
from application.ports import Clock
from application.requests import run_workflow, saved_definition
from application.states import Preparation, Reads
from application.timers import Timer, Timers
from domain.errors import Fault, Invalid, KasalError, NotFound, Rejected, Unavailable
from domain.execution import (
    EXECUTION,
    CancelExecution,
    ExecutionCancelled,
    ExecutionCompleted,
    ExecutionFailed,
    ExecutionTimedOut,
)
from domain.message import Recorded, tag_of
from domain.plan import Plan
from domain.registry import event_of
from domain.schedule import (
    SCHEDULE,
    CreateSchedule,
    FailRun,
    ReviseSchedule,
    Schedule,
    ScheduleCreated,
    ScheduleDeleted,
    ScheduleRevised,
    SlotsDecided,
    TakeSlots,
    schedule_of,
)

ENDED = tuple(
    tag_of(event) for event in (ExecutionCompleted, ExecutionFailed, ExecutionCancelled, ExecutionTimedOut)
)
PLANNED = tuple(tag_of(event) for event in (ScheduleCreated, ScheduleRevised, ScheduleDeleted, SlotsDecided))


def create_schedule(schedule_id: str, plan: Plan, now: datetime) -> Preparation:
    """Raises `Invalid` with every fault, `NotFound` for the workflow."""

    async def prepare(reads: Reads) -> CreateSchedule:
        await check_plan(reads, plan)
        return CreateSchedule(schedule_id=schedule_id, plan=plan, at=now, next_slot=next_slot(plan, now))

    return prepare


def revise_schedule(schedule_id: str, plan: Plan, now: datetime) -> Preparation:
    """Raises `Invalid` with every fault, `NotFound` for the schedule and the workflow."""

    async def prepare(reads: Reads) -> ReviseSchedule:
        await check_plan(reads, plan)
        return ReviseSchedule(schedule_id=schedule_id, plan=plan, at=now, next_slot=next_slot(plan, now))

    return prepare


async def check_plan(reads: Reads, plan: Plan) -> None:
    """The times, and the inputs against the workflow as it is now."""
    check(plan_faults(plan))
    _, definition = await saved_definition(reads, plan.workflow_id, plan.workflow_version)
    read_inputs(definition, plan.inputs)


async def plan_of_execution(commands: CommandHandler, execution_id: str, times: Plan) -> Plan:
    """The times of a plan, with the workflow and inputs of an execution. Raises `NotFound`, `Invalid`."""
    state = await commands.state_of(EXECUTION, execution_id)
    if state.request is None:
        raise NotFound(f"there is no execution {execution_id!r}")
    if state.request.workflow_id is None:
        fault = Fault("/execution_id", "ran an inline definition; expected one of a saved workflow")
        raise Invalid("only a saved workflow can be scheduled", (fault,))
    workflow_id = state.request.workflow_id
    return msgspec.structs.replace(times, workflow_id=workflow_id, inputs=state.request.inputs)


class PlannedSchedule(msgspec.Struct, frozen=True):
    """A schedule that is not deleted, as the read tables show it."""

    tenant: str
    schedule_id: str
    next_slot: datetime | None


class ScheduleRuns:
    """`TimerKind` of schedules: their timers ring at the next slot."""

    name = "schedule"
    tags: tuple[str, ...] = (*PLANNED, *ENDED)

    def __init__(
        self,
        timers: Timers,
        commands: CommandHandler,
        clock: Clock,
        schedules: Callable[[], Awaitable[Sequence[PlannedSchedule]]],
    ) -> None:
        self._timers = timers
        self._commands = commands
        self._clock = clock
        self._schedules = schedules

    async def heard(self, recorded: Recorded) -> None:
        tenant = recorded.metadata.tenant
        if recorded.tag in ENDED:
            if (schedule_id := schedule_of(recorded.entity_id)) is not None:
                await self._look(schedule_id, tenant, only_queued=True)
            return
        match event_of(recorded):
            case ScheduleCreated(next_slot=slot) | ScheduleRevised(next_slot=slot):
                await self._set(PlannedSchedule(tenant, recorded.entity_id, slot))
            case SlotsDecided(next_slot=slot):
                await self._set(PlannedSchedule(tenant, recorded.entity_id, slot))
                await self._begin(recorded.entity_id, tenant)
            case _:
                await self._timers.cancel(self.name, recorded.entity_id)

    async def rings(self, timer: Timer) -> None:
        """One that rings before its slot, or after another has decided it, is set for the next."""
        await self._look(timer.key, timer.tenant)
        state, now = await self._commands.state_of(SCHEDULE, timer.key), self._clock.now()
        if state.plan is not None and state.is_live:
            after = max(now, state.decided or now)
            await self._set(PlannedSchedule(timer.tenant, timer.key, next_slot(state.plan, after)))

    async def recover(self) -> None:
        for schedule in await self._schedules():
            await self._set(schedule)
            await self._begin(schedule.schedule_id, schedule.tenant)
            await self._look(schedule.schedule_id, schedule.tenant, only_queued=True)

    async def _set(self, schedule: PlannedSchedule) -> None:
        if schedule.next_slot is None:
            await self._timers.cancel(self.name, schedule.schedule_id)
            return
        timer = Timer(
            kind=self.name, key=schedule.schedule_id, due=schedule.next_slot, tenant=schedule.tenant
        )
        await self._timers.set(timer)

    async def _look(self, schedule_id: str, tenant: str, *, only_queued: bool = False) -> None:
        """Decide what is due, or what a queue held back, and begin it."""
        state = await self._commands.state_of(SCHEDULE, schedule_id)
        if not state.is_live or (only_queued and not state.queued):
            return
        await self._commands.handle(self._taking(schedule_id), context(tenant))
        await self._begin(schedule_id, tenant)

    def _taking(self, schedule_id: str) -> Preparation:
        async def prepare(reads: Reads) -> TakeSlots:
            state, now = await reads.of(SCHEDULE, schedule_id), self._clock.now()
            due: tuple[datetime, ...] = ()
            unseen = 0
            if state.plan is not None and state.decided is not None:
                due, unseen = due_slots(state.plan, state.decided, now)
            return TakeSlots(
                schedule_id=schedule_id,
                due=due,
                unseen=unseen,
                at=now,
                is_busy=await is_busy(reads, state),
                next_slot=next_slot(state.plan, now) if state.plan else None,
            )

        return prepare

    async def _begin(self, schedule_id: str, tenant: str) -> None:
        """The run that was decided last, unless it is there; first what gives way to it is cancelled."""
        state = await self._commands.state_of(SCHEDULE, schedule_id)
        if state.running is None or state.plan is None or await self._exists(state.running):
            return
        if state.cancels is not None:
            reason = f"its schedule begins {state.running}"
            with suppress(Rejected, NotFound):
                cancel = CancelExecution(execution_id=state.cancels, reason=reason)
                await self._commands.handle(cancel, context(tenant))
        try:
            await self._commands.handle(run_of(state.plan, state.running), context(tenant))
        except Unavailable:
            raise
        except KasalError as error:
            if not await self._exists(state.running):
                failed = FailRun(schedule_id=schedule_id, execution_id=state.running, message=str(error))
                await self._commands.handle(failed, context(tenant))

    async def _exists(self, execution_id: str) -> bool:
        return (await self._commands.state_of(EXECUTION, execution_id)).status is not None


async def is_busy(reads: Reads, state: Schedule) -> bool:
    """Whether the run before goes on, or is about to begin."""
    if state.running is None:
        return False
    execution = await reads.of(EXECUTION, state.running)
    return execution.status is None or execution.is_open


def run_of(plan: Plan, execution_id: str) -> Preparation:
    name = f"{plan.name} {execution_id[-16:]}"
    return run_workflow(
        execution_id, plan.workflow_id, plan.inputs, version=plan.workflow_version, name=name[-100:]
    )


def context(tenant: str) -> Context:
    return Context(actor="system:scheduler", tenant=tenant)
