"""When a schedule runs: what people write, and what becomes of slots that are due.

Used by `domain.schedule`, which decides. It knows no calendar: which times are due is computed outside.
"""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Literal

import msgspec

from domain.terms import Json, Title

MAX_QUEUED = 100
GRACE_S = 60
"""A slot that is taken later than this was missed."""


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
