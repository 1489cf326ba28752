"""The times of a cron expression: which is next, which have passed. Pure; `cronsim` knows the calendar.

Called by `application.schedules`. Its one rule: slots are moments in UTC, so that an hour which a change of
the clock repeats or leaves out is never a question.
"""

from __future__ import annotations

from collections import deque
from datetime import UTC, datetime, timedelta
from itertools import islice
from zoneinfo import ZoneInfo

from cronsim import CronSim, CronSimError

from domain.errors import Fault
from domain.plan import Plan

MAX_DUE = 100
"""Slots that are decided at once; of more the oldest are only counted."""

LOOK_BACK = timedelta(days=31)
"""Slots before this are not even counted."""


def plan_faults(plan: Plan) -> list[Fault]:
    """What is wrong with a plan's times."""
    try:
        zone = ZoneInfo(plan.timezone)
    except (OSError, ValueError, KeyError):
        return [
            Fault("/timezone", f"unknown time zone {plan.timezone!r}; expected one such as Europe/Berlin")
        ]
    if len(plan.cron.split()) != 5:
        return [Fault("/cron", "expected five fields: minute, hour, day of month, month, day of week")]
    try:
        next(CronSim(plan.cron, datetime(2026, 1, 1, tzinfo=zone)))
    except (CronSimError, ValueError) as error:
        return [Fault("/cron", f"{error}; expected a cron expression such as 0 2 * * *")]
    except StopIteration:
        return [Fault("/cron", "never comes; expected a time that does")]
    return []


def next_slot(plan: Plan, after: datetime) -> datetime | None:
    """The first slot later than a moment; None when the plan is off."""
    if not plan.enabled:
        return None
    return next((slot.astimezone(UTC) for slot in slots_after(plan, after)), None)


def due_slots(plan: Plan, after: datetime, now: datetime) -> tuple[tuple[datetime, ...], int]:
    """(the newest slots after a moment and up to now, oldest first; how many older ones there are)."""
    newest: deque[datetime] = deque(maxlen=MAX_DUE)
    count = 0
    for slot in slots_after(plan, max(after, now - LOOK_BACK)):
        if slot > now:
            break
        newest.append(slot.astimezone(UTC))
        count += 1
    return tuple(newest), count - len(newest)


def slots_after(plan: Plan, moment: datetime) -> islice[datetime]:
    return islice(CronSim(plan.cron, moment.astimezone(ZoneInfo(plan.timezone))), 100_000)
