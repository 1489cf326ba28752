"""A schedule: a workflow that runs at the times of a cron expression, once for each slot.

Commands come from the API and, when a slot is due, from the dispatchers: several may come for the same slot,
one is decided. Which times are due is computed outside; the domain knows no calendar.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import Annotated, Literal, TypeAlias, assert_never

import msgspec

from domain.errors import NotFound, Rejected
from domain.message import Aggregate, Command, Event
from domain.terms import Json, Moment, Title

MAX_QUEUED = 100
GRACE_S = 60
"""A slot that is taken later than this was missed."""

SLOT_ID = re.compile(r"(?P<schedule>.+)-(?P<slot>[0-9]{8}T[0-9]{6}Z)")


def execution_id_of(schedule_id: str, slot: datetime) -> str:
    """The same from every process that finds the slot due."""
    return f"{schedule_id}-{slot.astimezone(UTC):%Y%m%dT%H%M%SZ}"


def schedule_of(execution_id: str) -> str | None:
    """The schedule that an execution's id speaks of; None of another execution."""
    match = SLOT_ID.fullmatch(execution_id)
    return match["schedule"] if match else None


class Plan(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What runs, and when.

    workflow_version  None: the newest when a slot comes
    cron              five fields: minute, hour, day of month, month, day of week
    timezone          IANA name; daylight saving as in Debian's cron: a time that is left out runs right
                      after, one that comes twice runs once
    overlap           when the run before still goes on: skip the slot, queue it, or cancel that run
    catch_up          of slots that passed unnoticed: run none (more than a minute late), the last, or all
    """

    name: Title
    workflow_id: str
    workflow_version: Annotated[int, msgspec.Meta(ge=1, le=2**31 - 1)] | None = None
    inputs: dict[str, Json] = {}
    cron: Annotated[str, msgspec.Meta(min_length=9, max_length=200)]
    timezone: Annotated[str, msgspec.Meta(min_length=1, max_length=64)] = "UTC"
    enabled: bool = True
    overlap: Literal["skip", "queue", "cancel"] = "skip"
    catch_up: Literal["none", "last", "all"] = "last"


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


ScheduleCommands: TypeAlias = CreateSchedule | ReviseSchedule | DeleteSchedule | TakeSlots | FailRun
ScheduleEvents: TypeAlias = ScheduleCreated | ScheduleRevised | ScheduleDeleted | SlotsDecided | RunFailed


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


def caught_up(plan: Plan, due: tuple[datetime, ...], at: datetime) -> tuple[datetime, ...]:
    """Those to be run: the one that is due now, and as many of those missed as the plan says."""
    if plan.catch_up == "all":
        return due
    if plan.catch_up == "last":
        return due[-1:]
    return tuple(slot for slot in due[-1:] if (at - slot).total_seconds() <= GRACE_S)


def shared_out(
    plan: Plan, waiting: tuple[datetime, ...], *, may_run: bool
) -> tuple[datetime | None, tuple[datetime, ...], tuple[datetime, ...]]:
    """(the slot that runs, those that are queued, those that are skipped)"""
    if plan.overlap == "cancel":
        return (waiting[-1], (), waiting[:-1]) if may_run else (None, (), waiting)
    run = waiting[0] if may_run else None
    rest = waiting[1:] if may_run else waiting
    if plan.overlap == "queue" or plan.catch_up == "all":
        return run, rest[:MAX_QUEUED], rest[MAX_QUEUED:]
    return run, (), rest


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
        case _:
            assert_never(event)


SCHEDULE = Aggregate(
    category="schedule",
    initial=Schedule(),
    decide=decide,
    evolve=evolve,
    commands=(CreateSchedule, ReviseSchedule, DeleteSchedule, TakeSlots, FailRun),
    events=(ScheduleCreated, ScheduleRevised, ScheduleDeleted, SlotsDecided, RunFailed),
)
