"""What a step that nobody ever began would be granted, told before it is asked for.

Called by the command channel when a claim may come later, and by the dispatcher, which sends it ahead of the
work. Its one rule: an offer is only a saved request. Who has none asks; what the log says of the first report
counts either way.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Protocol

import msgspec

from application.assigning import assignment_of
from application.channel_messages import Reply
from application.commands import CommandHandler
from application.ports import Work
from domain.errors import KasalError
from domain.execution import EXECUTION, Execution, StartStep, StepStatus, foreseen

MAX_OFFER_BYTES = 64 * 1024
"""Every runner of the queue is sent it."""

MAX_LISTENERS = 4
"""Runners that are told of work which one of them will have; with more of them each asks for its own."""


class SendOffer(Protocol):
    """Sends an offer to the runners of the work's queue; transient, may be lost."""

    async def __call__(self, work: Work, offer: bytes) -> None: ...


class Offers:
    """Sends what it can foresee, where few enough runners would hear it.

    roster: names of runners that claimed steps here.
    """

    def __init__(self, commands: CommandHandler, roster: Collection[str], send: SendOffer) -> None:
        self._commands = commands
        self._roster = roster
        self._send = send

    async def ahead_of(self, work: Work) -> None:
        """Nothing where the step is claimed before it begins, or its execution would have to be read."""
        if not 0 < len(self._roster) <= MAX_LISTENERS:
            return
        known = self._commands.remembered_state(EXECUTION, work.execution_id)
        claim = StartStep(
            execution_id=work.execution_id, step=work.step, turn=work.turn, delivery=1, runner=""
        )
        if known is None or (offer := offered(known, claim)) is None:
            return
        if len(body := msgspec.json.encode(offer)) <= MAX_OFFER_BYTES:
            await self._send(work, body)


def offered(known: Execution, claim: StartStep) -> Reply | None:
    """What the claim would be granted now, if it may come with the first report."""
    try:
        execution = foreseen(known, claim)
    except KasalError:
        return None  # whoever claims hears why
    if execution is None:
        return None
    reply = granted(claim, execution)
    if reply.assignment is None or reply.assignment.has_past:
        return None
    return msgspec.structs.replace(reply, is_unclaimed=True)


def granted(command: StartStep, execution: Execution) -> Reply:
    """The assignment of the attempt that the claim began; a refusal when it began none."""
    step = execution.steps.get(command.step)
    is_begun = step is not None and step.status is StepStatus.RUNNING
    if not execution.is_open or not is_begun or execution.request is None:
        return Reply(refused=f"no attempt begins: the execution is {execution.status}", is_over=True)
    return Reply(assignment=assignment_of(command.execution_id, command.step, execution))
