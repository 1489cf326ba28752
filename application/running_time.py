"""How long an execution was RUNNING on a day, by the times of its own events.

Called by `application.day_budgets`. Its one rule: a time is never added up twice; what the events say counts,
whatever was heard of before, so that whoever died in between is made good by whoever asks next.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from datetime import datetime, timedelta

import msgspec

from application.commands import CommandHandler
from domain.execution import Execution, ExecutionEvents, Status, evolve
from domain.message import Recorded
from domain.registry import event_of
from domain.spending import Ran

REMEMBERED = 1_000


class Known(msgspec.Struct, frozen=True):
    """An execution at a version. ms: on the day that began at `midnight`, of times that are over; since: it
    runs, None: it does not."""

    midnight: datetime
    state: Execution = Execution()
    version: int = 0
    ms: int = 0
    since: datetime | None = None

    @property
    def ran(self) -> Ran:
        return Ran(self.ms, max(self.since, self.midnight) if self.since else None)


class RunningTimes:
    """One for a process; the newest that it was asked for are remembered, and only read on."""

    def __init__(self, commands: CommandHandler) -> None:
        self._commands = commands
        self._known: OrderedDict[str, Known] = OrderedDict()

    async def of(self, execution_id: str, at: datetime) -> Ran:
        """On the day (UTC) of `at`."""
        midnight = at.replace(hour=0, minute=0, second=0, microsecond=0)
        known = self._known.get(execution_id)
        if known is None or known.midnight != midnight:
            known = Known(midnight)
        events = await self._commands.events(f"execution-{execution_id}", after_version=known.version)
        known = followed(known, events)
        self._known[execution_id] = known
        self._known.move_to_end(execution_id)
        while len(self._known) > REMEMBERED:
            self._known.popitem(last=False)
        return known.ran


def followed(known: Known, events: Sequence[Recorded]) -> Known:
    """With more events: where it began to run, and where it ceased to."""
    state, ms, since, version = known.state, known.ms, known.since, known.version
    for recorded in events:
        event, at, version = event_of(recorded), recorded.metadata.at, recorded.version
        assert isinstance(event, ExecutionEvents)  # noqa: S101 - all of one stream
        state = evolve(state, event)
        if state.status is Status.RUNNING:
            since = since or at
        elif since is not None:
            ms, since = ms + milliseconds(max(since, known.midnight), at), None
    return Known(known.midnight, state, version, ms, since)


def milliseconds(begin: datetime, end: datetime) -> int:
    return max(0, round((end - begin) / timedelta(milliseconds=1)))
