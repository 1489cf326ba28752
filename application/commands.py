"""`handle`: the one way to change anything. Load, decide, append; again when another command was first.

Called by the API, the seeds and the command channel of runners. Its one rule: the answer is true of the log:
what was decided on a state that the log has left behind is decided again.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Sequence
from datetime import datetime
from typing import Any, TypeVar

import msgspec

from application.contents import Contents, Part
from application.ports import Append, Clock, CommandRecord, EventLog, NewEvent, Replayed
from application.states import Preparation, Reads, Snapshot, StreamStates, Try, aggregate_of
from application.summing import with_sum
from application.turns import Turns
from domain.errors import Conflict, KasalError, KeyReused, PreconditionFailed, TooLarge, Unavailable
from domain.message import Aggregate, Event, Metadata, Recorded, tag_of
from domain.registry import AnyCommand

TRIES = 4
"""The first may rest on remembered states; the three that follow read the log."""

S = TypeVar("S")


class Idempotency(msgspec.Struct, frozen=True):
    """The caller's key, scoped ("<tenant> <method> <path> <key>"), and the SHA-256 (hex) of the request."""

    key: str
    request_hash: str


class Context(msgspec.Struct, frozen=True, kw_only=True):
    """On whose behalf a command is handled.

    command_id        given when the caller may send the command again after a lost answer
    expected_version  If-Match: the version the stream must be at
    contents          whole contents that the command's events name; committed with them
    """

    actor: str
    tenant: str = "default"
    command_id: str | None = None
    correlation_id: str | None = None
    causation_id: str | None = None
    traceparent: str | None = None
    idempotency: Idempotency | None = None
    expected_version: int | None = None
    contents: tuple[Part, ...] = ()


class Outcome(msgspec.Struct, frozen=True, kw_only=True):
    """What a command did.

    stream, version, position  of the last event; of the stream as it is when there was nothing to do
    events                     those appended now; () for a wish already fulfilled, and for a replay
    snapshot                   the stream after them; None for a replay
    is_replay                  the idempotency key was seen before: this is what was done then
    """

    stream: str
    version: int
    position: int
    events: tuple[Event, ...] = ()
    snapshot: Snapshot[Any] | None = None
    is_replay: bool = False

    @property
    def entity_id(self) -> str:
        return self.stream.partition("-")[2]

    @property
    def state(self) -> object:
        """After the events; None for a replay."""
        return None if self.snapshot is None else self.snapshot.state


class CommandHandler:
    """`handle` with its log and clock. One for a process; safe for any number of concurrent callers."""

    def __init__(self, log: EventLog, clock: Clock) -> None:
        self._log = log
        self._clock = clock
        self._streams = StreamStates(log)
        self._turns = Turns()

    async def handle(self, command: AnyCommand | Preparation, context: Context) -> Outcome:
        """Decide a command and commit its events.

        Raises what `decide` or the preparation raises (`Rejected`, `NotFound`, `Invalid`), `Conflict` after
        `TRIES`, `PreconditionFailed`, `KeyReused`, `TooLarge`, `Unavailable` when the log can not take it.
        """
        for number in range(TRIES):
            attempt = Try(self._streams, fresh=number > 0)
            try:
                outcome = await self._attempt(command, context, attempt)
            except Conflict:
                await asyncio.sleep(random.uniform(0, 0.005 * number))  # noqa: S311 - jitter, not a secret
            except Replayed as replay:
                return self._replay(replay.record, context)
            except (Unavailable, TooLarge):
                raise
            except KasalError:
                if attempt.is_fresh:
                    return await self._replay_or_raise(context)
            else:
                if outcome.events:
                    return outcome
                if attempt.is_fresh:
                    return await self._replayed(context) or outcome
        raise Conflict("other commands changed the same stream at the same time, again and again; try again")

    async def state_of(self, aggregate: Aggregate[S, Any, Any], entity_id: str) -> S:
        """The state as the log has it now; for the command path only (queries are served by projections)."""
        snapshot: Snapshot[S] = await self._streams.load(f"{aggregate.category}-{entity_id}", fresh=True)
        return snapshot.state

    async def known_state(self, aggregate: Aggregate[S, Any, Any], entity_id: str) -> S:
        """The state as this process knows it; the log may be further."""
        snapshot: Snapshot[S] = await self._streams.load(f"{aggregate.category}-{entity_id}", fresh=False)
        return snapshot.state

    def remembered_state(self, aggregate: Aggregate[S, Any, Any], entity_id: str) -> S | None:
        """As `known_state`; None where it would have to be read."""
        snapshot: Snapshot[S] | None = self._streams.remembered(f"{aggregate.category}-{entity_id}")
        return snapshot.state if snapshot else None

    def now(self) -> datetime:
        return self._clock.now()

    async def events(self, stream: str, after_version: int = 0) -> Sequence[Recorded]:
        """Of a stream, as the log has them now; for the command path only."""
        return await self._streams.events(stream, after_version)

    async def _attempt(self, wish: AnyCommand | Preparation, context: Context, attempt: Try) -> Outcome:
        command = await wish(attempt) if callable(wish) else wish
        async with self._turns.of(command.stream):
            return await self._decided(command, context, attempt)

    async def _decided(self, command: AnyCommand, context: Context, attempt: Try) -> Outcome:
        aggregate = aggregate_of(command)
        before = await attempt.target(command)
        expected = context.expected_version
        if expected is not None and expected != before.version:
            raise PreconditionFailed(command.stream, expected, before.version)
        events: tuple[Event, ...] = aggregate.decide(before.state, command)
        if not events:
            return Outcome(
                stream=command.stream, version=before.version, position=before.position, snapshot=before
            )
        events = with_sum(aggregate, before.state, before.version, events)
        appended = await self._log.append(self._append(command, before.version, events, context, attempt))
        after = before.followed_by(events, aggregate.evolve, appended.version, appended.position)
        self._streams.remember(command.stream, after)
        return Outcome(
            stream=command.stream,
            version=appended.version,
            position=appended.position,
            events=events,
            snapshot=after,
        )

    def _append(
        self, command: AnyCommand, version: int, events: tuple[Event, ...], context: Context, attempt: Try
    ) -> Append:
        command_id = context.command_id or self._clock.new_id()
        now = self._clock.now()
        stamped = tuple(
            NewEvent(
                tag_of(event),
                msgspec.json.encode(event),
                Metadata(
                    event_id=self._clock.new_id(),
                    at=now,
                    tenant=context.tenant,
                    actor=context.actor,
                    command_id=command_id,
                    correlation_id=context.correlation_id or command_id,
                    causation_id=context.causation_id,
                    traceparent=context.traceparent,
                ),
            )
            for event in events
        )
        key = context.idempotency
        record = (
            CommandRecord(
                key=key.key,
                request_hash=key.request_hash,
                command_id=command_id,
                response=command.stream.encode(),
            )
            if key
            else None
        )
        return Append(
            stream=command.stream,
            expected_version=version,
            events=stamped,
            guards=attempt.guards(command.stream),
            record=record,
            contents=tuple(Contents.kept(context.tenant, command.stream, part) for part in context.contents),
        )

    async def _replay_or_raise(self, context: Context) -> Outcome:
        """Inside an except clause: a repeat of what was done is answered, whatever forbids it now."""
        replay = await self._replayed(context)
        if replay is None:
            raise
        return replay

    async def _replayed(self, context: Context) -> Outcome | None:
        """What was done under the caller's key; None when nothing was."""
        key = context.idempotency
        record = await self._log.command_record(key.key) if key else None
        return self._replay(record, context) if record else None

    def _replay(self, record: CommandRecord, context: Context) -> Outcome:
        key = context.idempotency
        if key is None or record.request_hash != key.request_hash:
            raise KeyReused("this Idempotency-Key was used before with another request; expected a new key")
        return Outcome(
            stream=record.response.decode(),
            version=record.version,
            position=record.position,
            is_replay=True,
        )


__all__ = ["CommandHandler", "Context", "Idempotency", "Outcome", "Preparation", "Reads"]
