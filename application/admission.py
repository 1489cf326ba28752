"""Admission: gives executions with a concurrency limit their slots, and takes them back.

Called by the dispatcher with what it saw in the feed, and at its start with what the read tables show. Safe
to run several times over: `domain.slots` decides, and what comes again changes nothing. Its one rule: a slot
that is granted to an execution that has ended is returned, so whatever was late or lost, none leaks.
"""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Iterable, Sequence
from enum import StrEnum
from typing import NamedTuple

import msgspec

from application.commands import CommandHandler, Context
from domain.execution import (
    AdmitExecution,
    Execution,
    ExecutionHeld,
)
from domain.message import Recorded, tag_of
from domain.registry import event_of
from domain.slots import ChangeSlots, SlotRequest, SlotReturn, SlotsGranted

HELD = tag_of(ExecutionHeld)
GRANTED = tag_of(SlotsGranted)
ACTOR = "system:dispatcher"


class Stage(StrEnum):
    """How far an execution with a slot has come; what it waits for is said in brackets."""

    HELD = "held"  # (that a slot is asked for)
    ASKED = "asked"  # (that a slot is free)
    GRANTED = "granted"  # (that it is admitted)
    ADMITTED = "admitted"  # (its end)
    ENDED = "ended"  # (that its slot is returned)


class Candidate(msgspec.Struct, frozen=True, kw_only=True):
    """An execution that wants, has or had a slot, as the read tables show it."""

    slots_id: str
    stage: Stage
    request: SlotRequest
    tenant: str = "default"


class Known(NamedTuple):
    """An execution that has or wants a slot, since the position `order`.

    context  of its start, which goes along with what follows
    """

    slots_id: str
    context: Context
    order: int


class Wishes:
    """What is to be said, gathered: one command for each slots aggregate, one for each admission."""

    def __init__(self) -> None:
        self.requests: defaultdict[str, list[SlotRequest]] = defaultdict(list)
        self.returns: defaultdict[str, list[SlotReturn]] = defaultdict(list)
        self.admissions: list[tuple[str, str]] = []

    @property
    def changes(self) -> list[ChangeSlots]:
        return [
            ChangeSlots(
                slots_id=slots_id,
                requests=tuple(self.requests[slots_id]),
                returns=tuple(self.returns[slots_id]),
            )
            for slots_id in {**self.requests, **self.returns}
        ]


class Admission:
    """One for a dispatcher. Raises what the log raises; then the same may come again."""

    def __init__(self, commands: CommandHandler) -> None:
        self._commands = commands
        self._known: dict[str, Known] = {}

    async def recover(self, candidates: Iterable[Candidate]) -> None:
        """Do again what may not have been done."""
        wishes = Wishes()
        for candidate in candidates:
            execution_id, slots_id = candidate.request.execution_id, candidate.slots_id
            context = Context(actor=ACTOR, tenant=candidate.tenant)
            self._known.setdefault(execution_id, Known(slots_id, context, candidate.request.order))
            match candidate.stage:
                case Stage.HELD:
                    wishes.requests[slots_id].append(candidate.request)
                case Stage.GRANTED:
                    wishes.admissions.append((slots_id, execution_id))
                case Stage.ENDED:
                    wishes.returns[slots_id].append(SlotReturn(execution_id, candidate.request.order))
        await self._fulfil(wishes)

    async def follow(self, batch: Sequence[Recorded], ends: Sequence[Recorded]) -> None:
        """What a batch of the feed asks for. ends: those of its events that end an execution."""
        wishes = Wishes()
        for recorded in batch:
            if recorded.tag not in (HELD, GRANTED):
                continue
            match event_of(recorded):
                case ExecutionHeld() as held:
                    wishes.requests[held.slots_id].append(self._request(recorded, held))
                case SlotsGranted(executions=executions):
                    wishes.admissions.extend((recorded.entity_id, each) for each in executions)
        for end in ends:
            if (known := self._known.get(end.entity_id)) is not None:
                wishes.returns[known.slots_id].append(SlotReturn(end.entity_id, end.position))
        await self._fulfil(wishes)
        for end in ends:
            self._forget(end)

    def _forget(self, end: Recorded) -> None:
        """One that was retried meanwhile is still known."""
        known = self._known.get(end.entity_id)
        if known is not None and known.order < end.position:
            del self._known[end.entity_id]

    def _request(self, recorded: Recorded, held: ExecutionHeld) -> SlotRequest:
        metadata = recorded.metadata
        context = Context(
            actor=ACTOR,
            tenant=metadata.tenant,
            correlation_id=metadata.correlation_id,
            causation_id=metadata.event_id,
            traceparent=metadata.traceparent,
        )
        self._known[recorded.entity_id] = Known(held.slots_id, context, recorded.position)
        return SlotRequest(
            execution_id=recorded.entity_id,
            order=recorded.position,
            limit=held.limit,
            priority=held.priority,
        )

    async def _fulfil(self, wishes: Wishes) -> None:
        changes = (self._commands.handle(change, self._context(change)) for change in wishes.changes)
        await asyncio.gather(*changes)
        await asyncio.gather(*(self._admit(*admission) for admission in wishes.admissions))

    def _context(self, change: ChangeSlots) -> Context:
        first = (change.requests or change.returns)[0].execution_id
        known = self._known.get(first)
        return Context(actor=ACTOR, tenant=known.context.tenant) if known else Context(actor=ACTOR)

    async def _admit(self, slots_id: str, execution_id: str) -> None:
        """One that has ended meanwhile needs its slot no more."""
        known = self._known.get(execution_id)
        context = known.context if known else Context(actor=ACTOR)
        outcome = await self._commands.handle(AdmitExecution(execution_id=execution_id), context)
        if not (isinstance(outcome.state, Execution) and outcome.state.is_open):
            ended = SlotReturn(execution_id, outcome.position)
            await self._commands.handle(ChangeSlots(slots_id=slots_id, returns=(ended,)), context)
