"""Roll call: nobody waits for the leases of a runner that has ended or was cut off.

Run beside the dispatcher. A runner answers to its name over NATS, and the server itself says when nobody
does, however busy the runner is. Its one rule: who was found absent for `GRACE_S` is gone. A runner that was
only cut off reports as an outdated attempt from then on, and the log refuses it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Collection, Sequence
from typing import Protocol

import structlog

from application.commands import CommandHandler, Context
from application.dispatcher import GONE, OpenStep, patiently
from domain.errors import Unavailable
from domain.execution import RescheduleStep

log = structlog.get_logger()

CALL_EVERY_S = 0.5
GRACE_S = 2.0
"""A connection that was lost is made again within some tenths of a second."""


class FindAbsent(Protocol):
    """Of some runners, those to whose names nobody answers.

    Raises `Unavailable` when NATS was away since the last call: they may be on their way back.
    """

    async def __call__(self, names: Collection[str]) -> set[str]: ...


HeldSteps = Callable[[], Awaitable[Sequence[OpenStep]]]
"""The steps that runners have, as of everything that was recorded when it is asked."""


class RollCall:
    """One of any number.

    roster        names of the runners that may have steps: whoever hears a claim adds its runner
    all_are_gone  those of which the log tells at the start: the dispatcher sees to their steps
    """

    def __init__(
        self,
        roster: set[str],
        find_absent: FindAbsent,
        held_steps: HeldSteps,
        commands: CommandHandler,
        *,
        all_are_gone: bool = False,
        every_s: float = CALL_EVERY_S,
        grace_s: float = GRACE_S,
    ) -> None:
        self._roster = roster
        self._find_absent = find_absent
        self._held_steps = held_steps
        self._commands = commands
        self._all_are_gone = all_are_gone
        self._every_s = every_s
        self._grace_s = grace_s
        self._absent_since: dict[str, float] = {}

    async def run(self) -> None:
        """Raises nothing but cancellation: what is away is waited for."""
        if not self._all_are_gone:
            self._roster.update(step.runner for step in await patiently(self._held_steps) if step.runner)
        while True:
            await asyncio.sleep(self._every_s)
            if gone := await self._call():
                await patiently(lambda: self._take_back(gone))
                self._roster -= gone

    async def _call(self) -> set[str]:
        """Those who have been absent for long enough."""
        try:
            absent = await self._find_absent(tuple(self._roster))
        except Unavailable:
            absent = set()
        now = asyncio.get_running_loop().time()
        self._absent_since = {name: self._absent_since.get(name, now) for name in absent}
        return {name for name, since in self._absent_since.items() if now - since >= self._grace_s}

    async def _take_back(self, gone: set[str]) -> None:
        held = [step for step in await self._held_steps() if step.runner in gone]
        if held:
            log.warning("runners are gone; their steps begin again", runners=sorted(gone), steps=len(held))
        await asyncio.gather(*map(self._reschedule, held))

    async def _reschedule(self, step: OpenStep) -> None:
        command = RescheduleStep(
            execution_id=step.execution_id, step=step.step, turn=step.turn, reason=GONE, runner=step.runner
        )
        await self._commands.handle(command, Context(actor="system:dispatcher", tenant=step.tenant))
