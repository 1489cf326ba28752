"""What a runner says over the command channel of one step: entries in order, each until it is in the log.

Called by `application.runs`. Its one rule: the order of a step's entries in the log is the order in which
they were reported; what queued while a report was under way goes in the next.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple

import msgspec

from application.asking import DRAIN_WITHIN_S, Channel, Claimed
from application.channel_messages import PutContent, Reply
from application.contents import Part, set_aside
from application.ports import MAX_EVENT_BYTES, Stopped
from domain.errors import TooLarge
from domain.execution import Drained, Progress, RecordProgress
from domain.message import tag_of

MAX_REPORT_BYTES = 400_000
"""Entries of one report with their contents, as JSON; a message of the channel holds 1 MiB."""

CONTENT_TRIES = 5
"""How often a report is sent with contents that the other side then says are not there."""

LINGER_S = 0.025
"""How long an entry that nobody waits for is kept for the next report to take along: a little more than
CrewAI takes from the answer to one request to the next request."""

CLAIM_WITHIN_S = 0.25
"""The latest that a step is claimed which nobody began before; its first report mostly comes much sooner."""

PAUSED = Stopped("the execution is paused", is_over=True, is_draining=True)
SUSPENDED = Stopped("the step waits", is_over=True, is_draining=True)

PublishTokens = Callable[[str, str], None]
"""(call, text) of the execution at hand; transient, never raises."""


class Entry(NamedTuple):
    """Something to report. parts: of the large texts that it names; done: when it is in the log."""

    progress: Progress
    parts: tuple[Part, ...]
    done: asyncio.Future[None]

    @property
    def begins(self) -> bool:
        """Refused to an attempt that was told to let go."""
        return not isinstance(self.progress, Drained)

    @property
    def size_bytes(self) -> int:
        """In a message, with what goes along (as Base64)."""
        along = sum(len(part.body) for part in self.parts if part.is_whole)
        return len(msgspec.json.encode(self.progress)) + along * 4 // 3


def fitting(entry: Progress) -> tuple[Progress, tuple[Part, ...]]:
    """As `set_aside`. Raises `TooLarge`, too, for an entry that no event has room for."""
    smaller, parts = set_aside(entry)
    if (size := len(msgspec.json.encode(smaller))) > MAX_EVENT_BYTES:
        raise TooLarge(f"{tag_of(type(entry))} has {size} bytes, an event may have {MAX_EVENT_BYTES}")
    return smaller, parts


def _is_known(done: asyncio.Future[None]) -> None:
    """Nobody waits for an entry that went along; what refused it is raised to the next who reports."""
    if not done.cancelled():
        done.exception()


def again(stopped: Stopped) -> Stopped:
    """A copy to raise elsewhere: one exception object must not be raised in several tasks."""
    return Stopped(str(stopped), is_over=stopped.is_over, is_draining=stopped.is_draining)


class StepReporter:
    """`Reporter` over the channel: what queued while a report was under way goes in the next, in order.

    overdue: done when the attempt was told to let go, and `DRAIN_WITHIN_S` have passed since.
    """

    def __init__(self, channel: Channel, claimed: Claimed, publish_tokens: PublishTokens) -> None:
        self._channel = channel
        self._assignment = claimed.assignment
        self._claim = claimed.claim
        self._publish_tokens = publish_tokens
        self._loop = asyncio.get_running_loop()
        self._waiting: list[Entry] = []
        self._known: set[str] = set()
        self._sender: asyncio.Task[None] | None = None
        self._recorded = 0
        self._stopped: Stopped | None = None
        self._draining: Stopped | None = None
        self._claiming = self._loop.call_later(CLAIM_WITHIN_S, self._begin_sending)
        self.overdue: asyncio.Future[None] = self._loop.create_future()

    def close(self) -> None:
        """Whoever has the step next claims it: this one does not any more."""
        self._claiming.cancel()

    def drain(self, why: Stopped = PAUSED) -> None:
        """Begin nothing more. What waits to be reported and would begin something is refused here."""
        if self._draining is None:
            self._draining = why
            self._loop.call_later(DRAIN_WITHIN_S, self._drained_long_enough)

    def _drained_long_enough(self) -> None:
        if not self.overdue.done():
            self.overdue.set_result(None)

    async def record(self, *entries: Progress, wait: bool = True) -> None:
        if self._stopped:
            raise again(self._stopped)
        waiting = [Entry(*fitting(entry), self._loop.create_future()) for entry in entries]
        if self._draining and any(entry.begins for entry in waiting):
            raise again(self._draining)
        self._waiting.extend(waiting)
        if not wait:
            for entry in waiting:
                entry.done.add_done_callback(_is_known)
            self._loop.call_later(LINGER_S, self._begin_sending)
            return
        self._begin_sending()
        for entry in waiting:
            await entry.done

    async def flush(self) -> None:
        """Send what was to go along with a next report: there is none."""
        if self._waiting:
            self._begin_sending()
        if self._sender is not None:
            await asyncio.wait([self._sender])

    def _begin_sending(self) -> None:
        if self._sender is None or self._sender.done():
            self._sender = asyncio.create_task(self._send_waiting())

    def tokens(self, call: str, text: str) -> None:
        self._loop.call_soon_threadsafe(self._publish_tokens, call, text)

    async def _send_waiting(self) -> None:
        while (batch := self._next_batch()) or self._claim:
            try:
                reply = await (self._send(batch) if batch else self._send_claim())
            except Stopped as stopped:
                if stopped.is_draining:
                    self.drain(stopped)
                    self._waiting = [*self._without_beginnings(batch), *self._waiting]
                    continue
                self._stopped = stopped
                self._resolve([*batch, *self._waiting], stopped)
                self._waiting.clear()
                return
            if reply.is_draining:
                self.drain(SUSPENDED)
                batch = self._without_beginnings(batch)
            self._resolve(batch, None)

    def _without_beginnings(self, batch: Sequence[Entry]) -> list[Entry]:
        """What may still be reported; the rest is refused."""
        if self._draining:
            self._resolve([entry for entry in batch if entry.begins], self._draining)
        return [entry for entry in batch if not entry.begins]

    async def _send_claim(self) -> Reply:
        """By itself: there was nothing to report for a while."""
        reply = await self._channel.send(self._claim) if self._claim else Reply()
        self._claim = None
        return reply

    async def _send(self, batch: Sequence[Entry]) -> Reply:
        """The contents that the other side does not have yet, then the entries; again while it lacks some."""
        command = RecordProgress(
            execution_id=self._assignment.execution_id,
            step=self._assignment.step,
            attempt=self._assignment.attempt,
            after=self._recorded,
            entries=tuple(entry.progress for entry in batch),
            claim=self._claim,
        )
        for _ in range(CONTENT_TRIES):
            along = await self._along(part for entry in batch for part in entry.parts)
            reply = await self._channel.send(command, along)
            if not reply.missing:
                self._known.update(part.digest for part in along)
                self._recorded += len(batch)
                self._claim = None
                return reply
            self._known.difference_update(reply.missing)
        raise Stopped(f"content {reply.missing[0]} was sent and is not there")

    async def _along(self, parts: Iterable[Part]) -> tuple[Part, ...]:
        """What goes in the same message; what is too large for that is sent here, ahead."""
        along, ahead = dict[str, Part](), set[str]()
        for part in parts:
            if part.digest in self._known:
                continue
            if part.is_whole:
                along[part.digest] = part
                continue
            await self._channel.send(PutContent(execution_id=self._assignment.execution_id, part=part))
            ahead.add(part.digest)
        self._known |= ahead
        return tuple(along.values())

    def _next_batch(self) -> list[Entry]:
        if self._draining:
            self._waiting = self._without_beginnings(self._waiting)
        size, count = 0, 0
        for entry in self._waiting:
            size += entry.size_bytes
            if count and size > MAX_REPORT_BYTES:
                break
            count += 1
        batch, self._waiting = self._waiting[:count], self._waiting[count:]
        return batch

    @staticmethod
    def _resolve(batch: Sequence[Entry], error: Stopped | None) -> None:
        for entry in batch:
            if entry.done.done():
                continue
            if error is None:
                entry.done.set_result(None)
            else:
                entry.done.set_exception(again(error))
