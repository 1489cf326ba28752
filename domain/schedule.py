"""A schedule: a workflow that runs at the times of a cron expression, once for each slot.

Commands come from the API and, when a slot is due, from the dispatchers: several may come for the same slot,
one is decided. Which times are due is computed outside; the domain knows no calendar.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import TypeAlias, assert_never

import msgspec

from domain.errors import NotFound, Rejected
from domain.message import Aggregate, Command, Event
from domain.plan import Plan, caught_up, shared_out
from domain.terms import Moment

SLOT_ID = re.compile(r"(?P<schedule>.+)-(?P<slot>[0-9]{8}T[0-9]{6}Z)")


def execution_id_of(schedule_id: str, slot: datetime) -> str:
    """The same from every process that finds the slot due."""
    return f"{schedule_id}-{slot.astimezone(UTC):%Y%m%dT%H%M%SZ}"


def schedule_of(execution_id: str) -> str | None:
    """The schedule that an execution's id speaks of; None of another execution."""
    match = SLOT_ID.fullmatch(execution_id)
    return match["schedule"] if match else None


# --- commands


class ScheduleCommand(Command, frozen=True):
    schedule_id: str

    @property
    def stream(self) -> str:
        return f"schedule-{self.schedule_id}"


class CreateSchedule(ScheduleCommand, frozen=True, tag="CreateSchedule"):
    """Already checked: the plan, and its inputs against the workflow. next_slot: the first after `at`."""

    plan: Plan
    at: Moment
    next_slot: Moment | None


class ReviseSchedule(ScheduleCommand, frozen=True, tag="ReviseSchedule"):
    """As `CreateSchedule`. Slots before `at` that were not taken are not made up for."""

    plan: Plan
    at: Moment
    next_slot: Moment | None


class DeleteSchedule(ScheduleCommand, frozen=True, tag="DeleteSchedule"):
    """No further runs; those under way go on."""


class TakeSlots(ScheduleCommand, frozen=True, tag="TakeSlots"):
    """From a dispatcher, when a slot may be due, or a run has ended.

    due        slots that have come since the last that was decided, oldest first
    unseen     slots older than these that are left out of `due` because there are too many
    at         now
    is_busy    the run that was begun last has not ended
    next_slot  the first after `at`
    """

    due: tuple[Moment, ...]
    at: Moment
    is_busy: bool
    next_slot: Moment | None
    unseen: int = 0


class FailRun(ScheduleCommand, frozen=True, tag="FailRun"):
    """From a dispatcher: the run of a slot can not be begun, and why."""

    execution_id: str
    message: str


# --- events


class ScheduleCreated(Event, frozen=True, tag="schedule.created"):
    plan: Plan
    at: Moment
    next_slot: Moment | None = None


class ScheduleRevised(Event, frozen=True, tag="schedule.revised"):
    plan: Plan
    at: Moment
    next_slot: Moment | None = None


class ScheduleDeleted(Event, frozen=True, tag="schedule.deleted"):
    pass


class SlotsDecided(Event, frozen=True, tag="schedule.slots_decided"):
    """What becomes of the slots that were due, and of those that were queued.

    through    the last slot that is decided by this
    run        the slot whose run begins now, as execution_id; from_queue: it was queued before
    cancels    the execution that gives way
    queued     slots that wait for the run before them
    skipped    slots that are left out because a run goes on (or because too many are queued)
    missed     how many slots had passed unnoticed and are not made up for
    """

    through: Moment | None = None
    run: Moment | None = None
    execution_id: str | None = None
    from_queue: bool = False
    cancels: str | None = None
    queued: tuple[Moment, ...] = ()
    skipped: tuple[Moment, ...] = ()
    missed: int = 0
    next_slot: Moment | None = None


class RunFailed(Event, frozen=True, tag="schedule.run_failed"):
    """The run of a slot could not be begun."""

    execution_id: str
    message: str


class ScheduleSummedUp(Event, frozen=True, tag="schedule.summed_up"):
    """What all events up to here come to, so that the stream can be read from here. As `Schedule` is."""

    plan: Plan | None = None
    is_deleted: bool = False
    decided: Moment | None = None
    queued: tuple[Moment, ...] = ()
    running: str | None = None
    cancels: str | None = None


ScheduleCommands: TypeAlias = CreateSchedule | ReviseSchedule | DeleteSchedule | TakeSlots | FailRun
ScheduleEvents: TypeAlias = (
    ScheduleCreated | ScheduleRevised | ScheduleDeleted | SlotsDecided | RunFailed | ScheduleSummedUp
)


# --- state


class Schedule(msgspec.Struct, frozen=True):
    """decided: slots up to this moment are decided. running: the execution that was begun last, while nothing
    says that it could not be; cancels: the one that had to give way to it."""

    plan: Plan | None = None
    is_deleted: bool = False
    decided: datetime | None = None
    queued: tuple[datetime, ...] = ()
    running: str | None = None
    cancels: str | None = None

    @property
    def is_live(self) -> bool:
        return self.plan is not None and not self.is_deleted


# --- decide and evolve


def decide(state: Schedule, command: ScheduleCommands) -> tuple[ScheduleEvents, ...]:
    match command:
        case CreateSchedule(plan=plan, at=at, next_slot=next_slot):
            if state.plan is not None:
                raise Rejected(f"CreateSchedule is not allowed: {command.schedule_id!r} exists already")
            return (ScheduleCreated(plan=plan, at=at, next_slot=next_slot),)
        case ReviseSchedule(plan=plan, at=at, next_slot=next_slot):
            check_live(state, command)
            same = plan == state.plan
            return () if same else (ScheduleRevised(plan=plan, at=at, next_slot=next_slot),)
        case DeleteSchedule():
            if state.plan is None:
                raise NotFound(f"there is no schedule {command.schedule_id!r}")
            return () if state.is_deleted else (ScheduleDeleted(),)
        case TakeSlots():
            return take_slots(state, command)
        case FailRun(execution_id=execution_id, message=message):
            known = execution_id == state.running
            return (RunFailed(execution_id=execution_id, message=message),) if known else ()
        case _:
            assert_never(command)


def check_live(state: Schedule, command: ScheduleCommands) -> None:
    if not state.is_live:
        raise NotFound(f"there is no schedule {command.schedule_id!r}")


def take_slots(state: Schedule, command: TakeSlots) -> tuple[ScheduleEvents, ...]:
    """At most one run begins; the queue first."""
    if state.plan is None or not state.is_live or not state.plan.enabled:
        return ()
    due = tuple(slot for slot in command.due if state.decided is None or slot > state.decided)
    wanted = caught_up(state.plan, due, command.at)
    missed = len(due) - len(wanted) + (command.unseen if due else 0)
    waiting = (*state.queued, *wanted)
    may_run = bool(waiting) and (not command.is_busy or (state.plan.overlap == "cancel" and bool(wanted)))
    if not due and not may_run:
        return ()
    run, queued, skipped = shared_out(state.plan, waiting, may_run=may_run)
    return (
        SlotsDecided(
            through=due[-1] if due else None,
            run=run,
            execution_id=execution_id_of(command.schedule_id, run) if run else None,
            from_queue=run is not None and run in state.queued,
            cancels=state.running if run and command.is_busy else None,
            queued=queued,
            skipped=skipped,
            missed=missed,
            next_slot=command.next_slot,
        ),
    )


def evolve(state: Schedule, event: ScheduleEvents) -> Schedule:
    match event:
        case ScheduleCreated(plan=plan, at=at):
            return Schedule(plan, decided=at)
        case ScheduleRevised(plan=plan, at=at):
            return msgspec.structs.replace(state, plan=plan, decided=at, queued=())
        case ScheduleDeleted():
            return msgspec.structs.replace(state, is_deleted=True, queued=())
        case SlotsDecided():
            return msgspec.structs.replace(
                state,
                decided=event.through or state.decided,
                queued=event.queued,
                running=event.execution_id or state.running,
                cancels=event.cancels if event.execution_id else state.cancels,
            )
        case RunFailed():
            return msgspec.structs.replace(state, running=None, cancels=None)
        case ScheduleSummedUp():
            return Schedule(**msgspec.structs.asdict(event))
        case _:
            assert_never(event)


def sum_up(state: Schedule) -> ScheduleSummedUp:
    return ScheduleSummedUp(**msgspec.structs.asdict(state))


SCHEDULE = Aggregate(
    category="schedule",
    initial=Schedule(),
    decide=decide,
    evolve=evolve,
    commands=(CreateSchedule, ReviseSchedule, DeleteSchedule, TakeSlots, FailRun),
    events=(ScheduleCreated, ScheduleRevised, ScheduleDeleted, SlotsDecided, RunFailed, ScheduleSummedUp),
    sum_up=sum_up,
)
