"""What a runner says and asks over the command channel, sent until it is answered.

Called by `application.runs`. Its one rule: the order of a step's entries in the log is the order in which
they were reported; what queued while a report was under way goes in the next.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence

import msgspec
import structlog

from application.channel import ReadJournal, Reply, Request
from application.ports import Assignment, Handler, Stopped, Work
from domain.errors import KasalError
from domain.execution import Journaled, Progress, RecordProgress, StartStep

log = structlog.get_logger()

MAX_REPORT_BYTES = 400_000
"""Entries of one report, as JSON; a message of the channel holds 1 MiB."""

PublishTokens = Callable[[str, str], None]
"""(call, text) of the execution at hand; transient, never raises."""


class Channel:
    """Requests of one runner for one piece of work, sent until they are answered."""

    def __init__(self, ask: Handler, runner: str, work: Work) -> None:
        self._ask = ask
        self._runner = runner
        self._work = work

    async def send(self, command: StartStep | RecordProgress | ReadJournal) -> Reply:
        """The answer, however long the other side is away: every command may be sent again.

        Raises `Stopped` when the command is refused.
        """
        request = Request(
            runner=self._runner,
            command=command,
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
                raise Stopped(reply.refused, is_over=reply.is_over)
            if not reply.retry_after_s:
                return reply
            await asyncio.sleep(max(pause_s, reply.retry_after_s))
            pause_s = min(2 * pause_s, 2.0)


def again(stopped: Stopped) -> Stopped:
    """A copy to raise elsewhere: one exception object must not be raised in several tasks."""
    return Stopped(str(stopped), is_over=stopped.is_over)


class StepReporter:
    """`Reporter` over the channel: what queued while a report was under way goes in the next, in order."""

    def __init__(self, channel: Channel, assignment: Assignment, publish_tokens: PublishTokens) -> None:
        self._channel = channel
        self._assignment = assignment
        self._publish_tokens = publish_tokens
        self._loop = asyncio.get_running_loop()
        self._waiting: list[tuple[Progress, asyncio.Future[None]]] = []
        self._sender: asyncio.Task[None] | None = None
        self._recorded = 0
        self._stopped: Stopped | None = None

    async def record(self, *entries: Progress) -> None:
        if self._stopped:
            raise again(self._stopped)
        futures = [self._loop.create_future() for _ in entries]
        self._waiting.extend(zip(entries, futures, strict=True))
        if self._sender is None or self._sender.done():
            self._sender = asyncio.create_task(self._send_waiting())
        for future in futures:
            await future

    def tokens(self, call: str, text: str) -> None:
        self._loop.call_soon_threadsafe(self._publish_tokens, call, text)

    async def _send_waiting(self) -> None:
        while self._waiting:
            batch = self._next_batch()
            try:
                await self._send(tuple(entry for entry, _ in batch))
            except Stopped as stopped:
                self._stopped = stopped
                self._resolve([*batch, *self._waiting], stopped)
                self._waiting.clear()
                return
            self._resolve(batch, None)

    async def _send(self, entries: tuple[Progress, ...]) -> None:
        command = RecordProgress(
            execution_id=self._assignment.execution_id,
            step=self._assignment.step,
            attempt=self._assignment.attempt,
            after=self._recorded,
            entries=entries,
        )
        await self._channel.send(command)
        self._recorded += len(entries)

    def _next_batch(self) -> list[tuple[Progress, asyncio.Future[None]]]:
        size, count = 0, 0
        for entry, _ in self._waiting:
            size += len(msgspec.json.encode(entry))
            if count and size > MAX_REPORT_BYTES:
                break
            count += 1
        batch, self._waiting = self._waiting[:count], self._waiting[count:]
        return batch

    @staticmethod
    def _resolve(batch: Sequence[tuple[Progress, asyncio.Future[None]]], error: Stopped | None) -> None:
        for _, future in batch:
            if future.done():
                continue
            if error is None:
                future.set_result(None)
            else:
                future.set_exception(again(error))


async def read_journal(channel: Channel, assignment: Assignment) -> tuple[Journaled, ...]:
    """The known outcomes of the step's calls in earlier attempts, page by page."""
    journal: list[Journaled] = []
    has_more = True
    while has_more:
        asked = ReadJournal(execution_id=assignment.execution_id, step=assignment.step, offset=len(journal))
        reply = await channel.send(asked)
        journal.extend(reply.journal)
        has_more = reply.has_more
    return tuple(journal)
