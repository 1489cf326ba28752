"""Waits that end by themselves: wait steps, and approvals with a timeout.

Called by `Alarms`. Its one rule: the wait's own event says when it ends; what rings for a wait that is over
changes nothing.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from datetime import datetime, timedelta

import msgspec

from application.commands import CommandHandler, Context
from application.timers import Timer, Timers
from domain.execution import EndWait, StepSuspended
from domain.message import Recorded, tag_of
from domain.registry import event_of


class DueWait(msgspec.Struct, frozen=True):
    """A step that waits until a moment."""

    tenant: str
    execution_id: str
    step: str
    wait_id: str
    due: datetime


class Waits:
    """`TimerKind` of steps that wait for a time, or for a person until then."""

    name = "wait"
    tags: tuple[str, ...] = (tag_of(StepSuspended),)

    def __init__(
        self,
        timers: Timers,
        commands: CommandHandler,
        due_waits: Callable[[], Awaitable[Sequence[DueWait]]],
    ) -> None:
        self._timers = timers
        self._commands = commands
        self._due_waits = due_waits

    async def heard(self, recorded: Recorded) -> None:
        event = event_of(recorded)
        if isinstance(event, StepSuspended) and (due := end_of(event, recorded.metadata.at)) is not None:
            wait = DueWait(recorded.metadata.tenant, recorded.entity_id, event.step, event.wait.id, due)
            await self._set(wait)

    async def rings(self, timer: Timer) -> None:
        wait = msgspec.convert(timer.payload, DueWait)
        command = EndWait(execution_id=wait.execution_id, step=wait.step, wait_id=wait.wait_id)
        await self._commands.handle(command, Context(actor="system:timer", tenant=wait.tenant))

    async def recover(self) -> None:
        for wait in await self._due_waits():
            await self._set(wait)

    async def _set(self, wait: DueWait) -> None:
        timer = Timer(
            kind=self.name,
            key=f"{wait.execution_id} {wait.step} {wait.wait_id}",
            due=wait.due,
            payload=msgspec.to_builtins(wait),
            tenant=wait.tenant,
        )
        await self._timers.set(timer)


def end_of(event: StepSuspended, at: datetime) -> datetime | None:
    """When a wait that began at a moment ends by itself; None: it does not."""
    if event.wait.until is not None:
        return event.wait.until
    return at + timedelta(seconds=event.wait.for_s) if event.wait.for_s else None
