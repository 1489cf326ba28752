"""What a dispatcher is made of: the hand-over of work, the roll call of runners, and the timers.

Called by `wiring`, for `kasal dispatcher` and `kasal up`. Its one rule: what the loops need of the read
tables is asked here, so that they know none of them.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence

from application.commands import CommandHandler
from application.delays import StepDelays
from application.dispatcher import Announce, Dispatcher, Feed, OpenStep, OpenWork, Order, patiently
from application.offering import Offers, SendOffer
from application.ports import Clock, EventLog, Work, WorkQueue
from application.roll_call import RollCall
from application.schedules import ScheduleRuns
from application.timeouts import Timeouts
from application.timers import Alarms
from application.waits import Waits
from infrastructure.nats.attendance import Attendance
from infrastructure.nats.connection import Connection
from infrastructure.nats.signals import signal
from infrastructure.nats.subjects import control_subject, offer_subject
from infrastructure.nats.timers import JetStreamTimers
from infrastructure.open_work import OpenRows
from infrastructure.planned import TABLES, PlannedRows
from projections.database import ReadDatabase
from projections.positions import position_of

TIMERS_EVERY_S = 0.05
"""Timers are set for seconds and more: they need not hear of each commit by itself."""


async def dispatch(
    connection: Connection,
    read_db: ReadDatabase,
    log: EventLog,
    commands: CommandHandler,
    queue: WorkQueue,
    clock: Clock,
    new_feed: Callable[[float], Feed],
    roster: set[str],
    *,
    runners_are_gone: bool,
) -> None:
    """Every loop, until they are cancelled.

    new_feed: one that may gather its events for so many seconds.
    roster: names of runners that may have steps, those that have claimed one here.
    runners_are_gone: steps that the log shows with a runner begin again at once, also those that the read
    tables do not know of yet.
    """
    table, planned, timers = OpenRows(read_db, clock), PlannedRows(read_db), JetStreamTimers(connection)

    async def position() -> int:
        return min(await table.position(), await position_of(read_db, TABLES))

    head = await patiently(log.head) if runners_are_gone else 0

    async def find_open() -> OpenWork:
        await table.reach(head)
        return await table.open_work()

    async def held_steps() -> Sequence[OpenStep]:
        return await table.held_steps(await log.head())

    announce, offers = announcing(connection), Offers(commands, roster, sending(connection))
    dispatcher = Dispatcher(
        new_feed(0), queue, commands, find_open, announce, offers, runners_are_gone=runners_are_gone
    )
    roll_call = RollCall(roster, Attendance(connection), held_steps, commands, all_are_gone=runners_are_gone)
    kinds = (
        StepDelays(timers, queue, table.delayed_steps),
        Timeouts(timers, log, commands, clock, table.limited_executions),
        Waits(timers, commands, planned.due_waits),
        ScheduleRuns(timers, commands, clock, planned.schedules),
    )
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(dispatcher.run())
        tasks.create_task(roll_call.run())
        tasks.create_task(Alarms(new_feed(TIMERS_EVERY_S), timers, kinds, position, clock).run())


def announcing(connection: Connection) -> Announce:
    """Over NATS, to every runner."""

    async def announce(execution_id: str, order: Order) -> None:
        await signal(connection, control_subject(execution_id), order.encode())

    return announce


def sending(connection: Connection) -> SendOffer:
    """Over NATS, to the runners of the work's queue."""

    async def send(work: Work, offer: bytes) -> None:
        await signal(connection, offer_subject(work), offer)

    return send
