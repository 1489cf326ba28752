"""What is not finished, read off the read tables for the dispatcher and its timers.

Called by `dispatching`. Its one rule: the position is read first, so what is newer than it is seen in the
feed.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

import structlog

from application.admission import Candidate, Stage
from application.children import OpenChild
from application.delays import DelayedStep
from application.dispatcher import OpenStep, OpenWork
from application.ports import Clock, Work
from application.timeouts import LimitedExecution
from domain.errors import NotCaughtUp
from domain.slots import SlotRequest
from projections import open_children
from projections import open_steps as rows
from projections.database import ReadDatabase
from projections.positions import position_of, wait_for

log = structlog.get_logger()

ALL_OPEN = 10_000_000
"""Every open execution: what the queue forgot must be found whole."""


CATCH_UP_S = 30.0
"""After so long, leases have ended by themselves."""

HELD_WITHIN_S = 5.0


class OpenRows:
    """The read tables' answers, as of now."""

    def __init__(self, read_db: ReadDatabase, clock: Clock) -> None:
        self._read_db = read_db
        self._clock = clock

    async def position(self) -> int:
        return await position_of(self._read_db, [rows.NAME, open_children.NAME])

    async def reach(self, position: int, within_s: float = CATCH_UP_S) -> None:
        """Wait until the rows show what was recorded up to a position, but not for ever."""
        try:
            await wait_for(self._read_db, [rows.NAME], position, within_s)
        except NotCaughtUp as error:
            log.warning("some steps may wait for the leases of runners that are gone", reason=str(error))

    async def open_work(self) -> OpenWork:
        position, steps = await self.position(), await self._open_steps()
        slots = await rows.open_slots(self._read_db)
        children = [
            OpenChild(row.tenant, row.parent_id, row.child)
            for row in await open_children.open_children(self._read_db)
        ]
        return OpenWork(position, steps, [each for row in slots for each in candidates(row)], children)

    async def held_steps(self, position: int) -> Sequence[OpenStep]:
        """Those that runners have. Raises `NotCaughtUp` while the rows do not show a position."""
        await wait_for(self._read_db, [rows.NAME], position, HELD_WITHIN_S)
        return [step for step in await self._open_steps() if step.is_with_runner]

    async def _open_steps(self) -> list[OpenStep]:
        now = self._clock.now()
        return [
            OpenStep(
                tenant=step.tenant,
                execution_id=step.execution_id,
                step=step.step,
                turn=step.turn,
                is_with_runner=step.is_with_runner,
                is_draining=step.is_draining,
                is_queued=step.status != "waiting" and not is_delayed(step, now),
                queue=step.queue,
                priority=step.priority,
                runner=step.runner or "",
                delivery=step.delivery,
            )
            for step in await self._steps()
        ]

    async def delayed_steps(self) -> Sequence[DelayedStep]:
        now = self._clock.now()
        return [
            DelayedStep(work_of(step), datetime.fromisoformat(step.not_before))
            for step in await self._steps()
            if step.not_before and is_delayed(step, now)
        ]

    async def limited_executions(self) -> Sequence[LimitedExecution]:
        executions = await rows.limited_executions(self._read_db)
        return [LimitedExecution(each.tenant, each.execution_id) for each in executions]

    async def _steps(self) -> list[rows.OpenStep]:
        return await rows.open_steps(self._read_db, limit=ALL_OPEN)


def is_delayed(step: rows.OpenStep, now: datetime) -> bool:
    return step.not_before is not None and datetime.fromisoformat(step.not_before) > now


def work_of(step: rows.OpenStep) -> Work:
    return Work(
        execution_id=step.execution_id,
        step=step.step,
        turn=step.turn,
        queue=step.queue,
        priority=step.priority,
        tenant=step.tenant,
    )


def candidates(row: rows.OpenExecution) -> list[Candidate]:
    """At most one."""
    if (slot := row.slot) is None:
        return []
    request = SlotRequest(
        execution_id=row.execution_id, order=slot.order, limit=slot.limit, priority=slot.priority
    )
    return [Candidate(slots_id=slot.slots_id, stage=Stage(slot.stage), request=request, tenant=row.tenant)]
