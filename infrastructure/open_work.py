"""What is not finished, read off the read tables for the dispatcher.

Called by `wiring`. Its one rule: the position is read first, so what is newer than it is seen in the feed.
"""

from __future__ import annotations

from application.admission import Candidate, Stage
from application.dispatcher import OpenStep, OpenWork
from domain.slots import SlotRequest
from projections.database import ReadDatabase
from projections.open_steps import NAME, OpenExecution, open_slots, open_steps
from projections.positions import position_of

ALL_OPEN = 10_000_000
"""Every open execution: what the queue forgot must be found whole."""


async def open_work(read_db: ReadDatabase) -> OpenWork:
    position = await position_of(read_db, [NAME])
    steps = [
        OpenStep(
            tenant=step.tenant,
            execution_id=step.execution_id,
            step=step.step,
            turn=step.turn,
            is_with_runner=step.is_with_runner,
            is_queued=step.status != "waiting",
            queue=step.queue,
            priority=step.priority,
        )
        for step in await open_steps(read_db, limit=ALL_OPEN)
    ]
    slots = await open_slots(read_db)
    return OpenWork(position, steps, [each for row in slots for each in candidates(row)])


def candidates(row: OpenExecution) -> list[Candidate]:
    """At most one."""
    if (slot := row.slot) is None:
        return []
    request = SlotRequest(
        execution_id=row.execution_id, order=slot.order, limit=slot.limit, priority=slot.priority
    )
    return [Candidate(slots_id=slot.slots_id, stage=Stage(slot.stage), request=request, tenant=row.tenant)]
