"""What a runner says and asks over the command channel, sent until it is answered.

Called by `application.runs`. Its one rule: the order of a step's entries in the log is the order in which
they were reported; what queued while a report was under way goes in the next.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple

import msgspec
import structlog

from application.channel import Asked, PutContent, ReadContent, Reply, Request
from application.contents import Part, digest_of, parts_in, set_aside
from application.ports import Assignment, Handler, Stopped, Work
from domain.errors import KasalError, NotFound
from domain.execution import Drained, Progress, RecordProgress, StartStep

log = structlog.get_logger()

MAX_REPORT_BYTES = 400_000
"""Entries of one report with their contents, as JSON; a message of the channel holds 1 MiB."""

CONTENT_TRIES = 5
"""How often a report is sent with contents that the other side then says are not there."""

LINGER_S = 0.025
"""How long an entry that nobody waits for is kept for the next report to take along: a little more than
CrewAI takes from the answer to one request to the next request."""

DRAIN_WITHIN_S = 120.0
"""How long calls in flight may take to end after their attempt was told to let go."""

HELD_AT_MOST_S = DRAIN_WITHIN_S + 10
"""How long a claim waits for the attempt before it; after that the runner of that one is taken for dead."""

HELD_PAUSE_S = 0.25

PAUSED = Stopped("the execution is paused", is_over=True, is_draining=True)
SUSPENDED = Stopped("the step waits", is_over=True, is_draining=True)

PublishTokens = Callable[[str, str], None]
"""(call, text) of the execution at hand; transient, never raises."""


class Claimed(NamedTuple):
    """What came with a claim. has_more: outputs are to be asked for; past: the journal, if it came along."""

    assignment: Assignment
    has_more: bool
    past: Reply | None


class Channel:
    """Requests of one runner for one piece of work, sent until they are answered."""

    def __init__(self, ask: Handler, runner: str, work: Work) -> None:
        self._ask = ask
        self._runner = runner
        self._work = work

    async def send(
        self, command: StartStep | RecordProgress | Asked, contents: tuple[Part, ...] = ()
    ) -> Reply:
        """The answer, however long the other side is away: every command may be sent again.

        Raises `Stopped` when the command is refused.
        """
        request = Request(
            runner=self._runner,
            command=command,
            contents=contents,
            tenant=self._work.tenant,
            correlation_id=self._work.correlation_id,
            causation_id=self._work.causation_id,
            traceparent=self._work.traceparent,
        )
        body, pause_s = msgspec.json.encode(request), 0.05
        while True:
            try:
                reply = msgspec.json.decode(await self._ask(body), type=Reply)
            except (KasalError, OSError, TimeoutError) as error:
                log.warning("command channel is away", error=str(error), execution=self._work.execution_id)
                reply = Reply(retry_after_s=pause_s)
            if reply.refused:
                raise Stopped(reply.refused, is_over=reply.is_over, is_draining=reply.is_draining)
            if not reply.retry_after_s:
                return reply
            await asyncio.sleep(max(pause_s, reply.retry_after_s))
            pause_s = min(2 * pause_s, 2.0)

    async def claim(self, claim: StartStep) -> Claimed:
        """Granted once the attempt before has let go of the step. Raises `Stopped`."""
        deadline = time.monotonic() + HELD_AT_MOST_S
        while (reply := await self.send(claim)).is_held:
            await asyncio.sleep(HELD_PAUSE_S)
            claim = msgspec.structs.replace(claim, insists=time.monotonic() > deadline)
        if reply.assignment is None:
            raise Stopped("the claim was answered without an assignment")
        return Claimed(reply.assignment, reply.has_more, reply.past)

    async def text(self, digest: str) -> str:
        """A stored text, read part by part. Raises `NotFound` when it is not there as its digest says."""
        whole, number, parts = bytearray(), 0, 1
        while number < parts:
            asked = ReadContent(execution_id=self._work.execution_id, digest=digest, number=number)
            part = (await self.send(asked)).part
            if part is None:
                raise NotFound(f"there is no content {digest!r}")
            whole += part.body
            number, parts = number + 1, parts_in(part.total_bytes)
        if digest_of(whole) != digest:
            raise NotFound(f"content {digest!r} is not what its digest says")
        return whole.decode()


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

    def __init__(self, channel: Channel, assignment: Assignment, publish_tokens: PublishTokens) -> None:
        self._channel = channel
        self._assignment = assignment
        self._publish_tokens = publish_tokens
        self._loop = asyncio.get_running_loop()
        self._waiting: list[Entry] = []
        self._known: set[str] = set()
        self._sender: asyncio.Task[None] | None = None
        self._recorded = 0
        self._stopped: Stopped | None = None
        self._draining: Stopped | None = None
        self.overdue: asyncio.Future[None] = self._loop.create_future()

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
        waiting = [Entry(*set_aside(entry), self._loop.create_future()) for entry in entries]
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
        self._begin_sending()
        if self._sender is not None:
            await asyncio.wait([self._sender])

    def _begin_sending(self) -> None:
        if self._sender is None or self._sender.done():
            self._sender = asyncio.create_task(self._send_waiting())

    def tokens(self, call: str, text: str) -> None:
        self._loop.call_soon_threadsafe(self._publish_tokens, call, text)

    async def _send_waiting(self) -> None:
        while batch := self._next_batch():
            try:
                reply = await self._send(batch)
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

    async def _send(self, batch: Sequence[Entry]) -> Reply:
        """The contents that the other side does not have yet, then the entries; again while it lacks some."""
        command = RecordProgress(
            execution_id=self._assignment.execution_id,
            step=self._assignment.step,
            attempt=self._assignment.attempt,
            after=self._recorded,
            entries=tuple(entry.progress for entry in batch),
        )
        for _ in range(CONTENT_TRIES):
            along = await self._along(part for entry in batch for part in entry.parts)
            reply = await self._channel.send(command, along)
            if not reply.missing:
                self._known.update(part.digest for part in along)
                self._recorded += len(batch)
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
