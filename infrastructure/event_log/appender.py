"""Group commit: one task a process writes whatever queued while it was writing, in one transaction.

Called by the SQLite and PostgreSQL adapters, which bring a `Writer`. Its one rule: the batch is invisible. A
command is refused for its own reasons only, and a command that is answered is on disk.

No timer: an idle appender writes at once, a busy one writes bigger batches. A lost connection leaves it open
whether the batch was committed, so the batch is sent again: an append that rests on an expected version has
one effect however often it is sent, and one that now conflicts is looked up by its own events.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Iterator, Sequence
from typing import Protocol

import structlog

from application.ports import Append, Appended
from domain.errors import KasalError, LogFull, LogUnavailable
from infrastructure.event_log.deciding import Outcome, check
from infrastructure.event_log.head_watch import HeadWatch
from infrastructure.event_log.tail import Tail

SETTLE_WITHIN_S = 5.0
"""A command that could not be brought to the database for so long is answered with `LogUnavailable`."""

ANSWERED_FIRST = 3
"""Turns of the event loop in which those who appended go on, before those are woken who only follow."""

MAX_BATCH_BYTES = 8 * 2**20
MAX_QUEUE_BYTES = 128 * 2**20

log = structlog.get_logger()


class FlushFailed(Exception):
    """A flush did not come to its end through no fault of a command; later it may.

    may_stand   whether it was under way, so that it may have been committed all the same
    """

    def __init__(self, reason: object, *, may_stand: bool) -> None:
        super().__init__(str(reason).strip())
        self.may_stand = may_stand


class FlushRefused(Exception):
    """The database will not have one of the commands, now or later; nothing was committed.

    `error` is the answer if it was the only one.
    """

    def __init__(self, error: KasalError) -> None:
        super().__init__(str(error))
        self.error = error


class Writer(Protocol):
    """What a database does for the appender; used by one task, one call at a time."""

    async def flush(self, batch: Sequence[Append]) -> Sequence[Outcome]:
        """Decide and store a batch in one transaction; the outcomes in its order.

        Connects first where there is no connection. Raises `FlushFailed` or `FlushRefused`.
        """
        ...

    async def landed(self, appends: Sequence[Append]) -> Sequence[Appended | None]:
        """Where each command's own events are: by stream, version and command id. Raises `FlushFailed`."""
        ...

    async def close(self) -> None:
        """Let go of the connection."""
        ...


class Pending:
    """A command that waits for its answer."""

    __slots__ = ("answer", "append", "deadline", "size_bytes")

    def __init__(self, append: Append, size_bytes: int, loop: asyncio.AbstractEventLoop) -> None:
        self.append = append
        self.size_bytes = size_bytes
        self.answer: asyncio.Future[Appended] = loop.create_future()
        self.deadline = loop.time() + SETTLE_WITHIN_S

    def settle(self, outcome: Outcome | KasalError) -> None:
        """Answer, unless the caller has gone."""
        if self.answer.done():
            return
        if isinstance(outcome, Appended):
            self.answer.set_result(outcome)
        else:
            self.answer.set_exception(outcome)

    def give_up(self, reason: str, *, may_stand: bool) -> None:
        """Answer that the log can not be reached, and whether the command may have been stored."""
        doubt = "; whether the command was stored is not known" if may_stand else ""
        self.settle(LogUnavailable(f"the event log can not be reached: {reason}{doubt}"))


class Appender:
    """The queue before a `Writer`, and the task that empties it."""

    def __init__(self, writer: Writer, watch: HeadWatch, tail: Tail, queue_limit: int) -> None:
        self._writer = writer
        self._watch = watch
        self._tail = tail
        self._queue_limit = queue_limit
        self._queue: deque[Pending] = deque()
        self._queued_bytes = 0
        self._wake = asyncio.Event()
        self._is_closing = False
        self._is_writing = False
        self._heard = 0
        self._told = 0
        self._loop = asyncio.get_running_loop()
        self._task = self._loop.create_task(self._run(), name="event log appender")

    async def append(self, append: Append) -> Appended:
        """As `EventLog.append`."""
        size_bytes = check(append)
        if self._is_closing:
            raise LogUnavailable("the event log is closed")
        if len(self._queue) >= self._queue_limit or self._queued_bytes + size_bytes > MAX_QUEUE_BYTES:
            raise LogFull("too many commands wait for the event log")
        pending = Pending(append, size_bytes, self._loop)
        self._queue.append(pending)
        self._queued_bytes += size_bytes
        self._wake.set()
        return await pending.answer

    def heard(self, position: int) -> None:
        """The database tells of growth. While a batch is under way that may be the batch itself: who follows
        the log is woken behind its answer, when the events are in memory."""
        if self._is_writing:
            self._heard = position
        else:
            self._watch.saw(position)

    async def close(self) -> None:
        """Answer everyone who waits, then close the writer."""
        self._is_closing = True
        self._wake.set()
        await asyncio.wait([self._task])
        await self._writer.close()

    async def _run(self) -> None:
        while self._queue or not self._is_closing:
            if not self._queue:
                self._wake.clear()
                await self._wake.wait()
                continue
            batch = self._take()
            try:
                await self._commit(batch, is_again=False)
            except Exception as error:
                log.exception("event log: a batch failed", commands=len(batch))
                for pending in batch:
                    pending.give_up(repr(error), may_stand=True)
            if self._heard > self._told:
                self._tell(self._heard)

    def _take(self) -> list[Pending]:
        batch: list[Pending] = []
        size_bytes = 0
        while self._queue and size_bytes < MAX_BATCH_BYTES:
            pending = self._queue.popleft()
            self._queued_bytes -= pending.size_bytes
            size_bytes += pending.size_bytes
            batch.append(pending)
        return batch

    async def _commit(self, batch: list[Pending], *, is_again: bool) -> None:
        pauses = _back_off()
        while batch := [pending for pending in batch if not pending.answer.done()]:
            try:
                outcomes = await self._flush(batch, is_again=is_again)
            except FlushFailed as failure:
                is_again = is_again or failure.may_stand
                self._expire(batch, str(failure), may_stand=is_again)
                await asyncio.sleep(next(pauses))
            except FlushRefused as refused:
                return await self._one_by_one(batch, refused, is_again=is_again)
            else:
                return self._answer(batch, outcomes)
        return None

    async def _flush(self, batch: list[Pending], *, is_again: bool) -> Sequence[Outcome]:
        appends = [pending.append for pending in batch]
        self._is_writing = True
        try:
            outcomes = await self._writer.flush(appends)
        finally:
            self._is_writing = False
        return await self._with_landed(appends, outcomes) if is_again else outcomes

    async def _with_landed(self, appends: list[Append], outcomes: Sequence[Outcome]) -> Sequence[Outcome]:
        """A command that was sent before and is refused now may have been refused by its own first effect."""
        refused = [append for append, o in zip(appends, outcomes, strict=True) if not isinstance(o, Appended)]
        landed = iter(await self._writer.landed(refused) if refused else ())
        return [o if isinstance(o, Appended) else next(landed) or o for o in outcomes]

    async def _one_by_one(self, batch: list[Pending], refused: FlushRefused, *, is_again: bool) -> None:
        if len(batch) == 1:
            batch[0].settle(refused.error)
            return
        for pending in batch:
            await self._commit([pending], is_again=is_again)

    def _answer(self, batch: list[Pending], outcomes: Sequence[Outcome]) -> None:
        for pending, outcome in zip(batch, outcomes, strict=True):
            pending.settle(outcome)
            if isinstance(outcome, Appended):
                self._tail.saw(pending.append, outcome)
        self._tell(max((o.position for o in outcomes if isinstance(o, Appended)), default=0))

    def _tell(self, position: int) -> None:
        self._told = max(self._told, position)
        self._later(ANSWERED_FIRST, position)

    def _later(self, turns: int, position: int) -> None:
        """Wake who follows the log some turns of the event loop from now."""
        if turns:
            self._loop.call_soon(self._later, turns - 1, position)
        else:
            self._watch.saw(position)

    def _expire(self, batch: list[Pending], reason: str, *, may_stand: bool) -> None:
        now = self._loop.time()
        for pending in batch:
            if pending.deadline <= now:
                pending.give_up(reason, may_stand=may_stand)
        for pending in self._queue:
            if pending.deadline <= now:
                pending.give_up(reason, may_stand=False)
        while self._queue and self._queue[0].answer.done():
            self._queued_bytes -= self._queue.popleft().size_bytes


def _back_off() -> Iterator[float]:
    pause_s = 0.02
    while True:
        yield pause_s
        pause_s = min(pause_s * 2, 0.5)
