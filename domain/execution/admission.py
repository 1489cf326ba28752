"""What happens to an execution whose document limits how many run at once.

Part of `events`. Its one rule: between being held and being admitted nothing of an execution is scheduled.
"""

from __future__ import annotations

from domain.message import Event


class ExecutionHeld(Event, frozen=True, tag="execution.held"):
    """Nothing is scheduled before the execution is admitted: its document limits how many run at once.

    slots_id  of the slots that it needs one of; key: what it shares them by, its inputs filled in
    """

    slots_id: str
    key: str
    limit: int
    priority: int = 5


class ExecutionAdmitted(Event, frozen=True, tag="execution.admitted"):
    """It was granted a slot, which it keeps until it ends."""
