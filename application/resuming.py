"""Resuming: what a pause interrupted goes on, and what was not to begin before a time still is not.

Used by the API and by `application.children`. Its one rule: time goes on while an execution is paused, so a
back-off is kept for what is left of it.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime, timedelta

import msgspec

from application.states import Preparation, Reads
from domain.execution import ResumeExecution, StepScheduled, StepStarted
from domain.message import Recorded, tag_of
from domain.registry import event_of

PLACING = frozenset({tag_of(StepScheduled), tag_of(StepStarted)})


def resumed(wish: ResumeExecution, now: datetime) -> Preparation:
    """The wish, with how long each step that was put off is still to wait."""

    async def prepare(reads: Reads) -> ResumeExecution:
        delays_s = delays_left(await reads.events(wish.stream), now)
        return msgspec.structs.replace(wish, delays_s=delays_s)

    return prepare


def delays_left(events: Iterable[Recorded], now: datetime) -> dict[str, float]:
    """Seconds, by step that was scheduled with a delay and has not begun since; those that are over left
    out."""
    due: dict[str, datetime] = {}
    for recorded in events:
        if recorded.tag in PLACING:
            match event_of(recorded):
                case StepScheduled(step=step, delay_s=delay_s):
                    due[step] = recorded.metadata.at + timedelta(seconds=delay_s)
                case StepStarted(step=step):
                    due.pop(step, None)
    return {step: (at - now).total_seconds() for step, at in due.items() if at > now}
