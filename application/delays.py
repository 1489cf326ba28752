"""Steps that may not begin yet: the back-off of a retry, as a timer that puts the step into the work queue.

Called by `Alarms`. Its one rule: what rings is put into the queue, which keeps a turn once; a turn that is
over is refused by the log.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from datetime import datetime, timedelta

import msgspec

from application.dispatcher import SCHEDULED, work_of
from application.ports import Work, WorkQueue
from application.timers import Timer, Timers
from domain.execution import StepScheduled
from domain.message import Recorded
from domain.registry import event_of


class DelayedStep(msgspec.Struct, frozen=True):
    """A step that the read tables show as scheduled, but not before a time that has not come."""

    work: Work
    not_before: datetime


class StepDelays:
    """`TimerKind` of scheduled steps with a delay."""

    name = "step"
    tags: tuple[str, ...] = (SCHEDULED,)

    def __init__(
        self,
        timers: Timers,
        queue: WorkQueue,
        delayed_steps: Callable[[], Awaitable[Sequence[DelayedStep]]],
    ) -> None:
        self._timers = timers
        self._queue = queue
        self._delayed_steps = delayed_steps

    async def heard(self, recorded: Recorded) -> None:
        event = event_of(recorded)
        if isinstance(event, StepScheduled) and event.delay_s:
            due = recorded.metadata.at + timedelta(seconds=event.delay_s)
            await self._set(DelayedStep(work_of(recorded), due))

    async def rings(self, timer: Timer) -> None:
        await self._queue.enqueue(msgspec.convert(timer.payload, Work))

    async def recover(self) -> None:
        for step in await self._delayed_steps():
            await self._set(step)

    async def _set(self, step: DelayedStep) -> None:
        work = step.work
        timer = Timer(
            kind=self.name,
            key=f"{work.execution_id} {work.step} {work.turn}",
            due=step.not_before,
            payload=msgspec.to_builtins(work),
            tenant=work.tenant,
        )
        await self._timers.set(timer)
