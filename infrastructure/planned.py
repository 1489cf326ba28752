"""What the read tables say of things that come at a time: waits that end by themselves, schedules.

Called by `dispatching`. Its one rule: it only reads; what is due is decided by the streams themselves.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from application.schedules import PlannedSchedule
from application.waits import DueWait
from projections import due_waits, schedules
from projections.database import ReadDatabase

TABLES = (due_waits.NAME, schedules.NAME)


class PlannedRows:
    """Over one read database, of all tenants."""

    def __init__(self, read_db: ReadDatabase) -> None:
        self._read_db = read_db

    async def due_waits(self) -> Sequence[DueWait]:
        return [
            DueWait(row.tenant, row.execution_id, step, wait.wait_id, datetime.fromisoformat(wait.due))
            for row in await due_waits.due_waits(self._read_db)
            for step, wait in row.waits.items()
        ]

    async def schedules(self) -> Sequence[PlannedSchedule]:
        return [
            PlannedSchedule(
                row.tenant, row.id, datetime.fromisoformat(row.next_slot) if row.next_slot else None
            )
            for row in await schedules.all_schedules(self._read_db)
        ]
