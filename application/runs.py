"""A runner's work: take a step, claim it, run its crew, report, acknowledge after the end.

Called by `kasal runner`, free of any driver; `ask` is the command channel, `queue` the work queue. Its rule:
a report that the log refuses stops the step at once; somebody else has it, or it has ended.
"""

from __future__ import annotations

import asyncio
import traceback
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from typing import Any

import msgspec
import structlog

from application.channel import Reply, Request
from application.ports import Assignment, CrewEngine, Delivery, Handler, Stopped, Work, WorkQueue
from domain.errors import KasalError
from domain.execution import Failure, Progress, RecordProgress, StartStep, StepCompleted, StepFailed

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

    async def send(self, command: StartStep | RecordProgress) -> Reply:
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


class Runner:
    """Works on up to `concurrency` steps at once, from the given queues."""

    def __init__(
        self,
        name: str,
        queue: WorkQueue,
        ask: Handler,
        engine: CrewEngine,
        *,
        queues: Sequence[str] = ("default",),
        concurrency: int = 20,
        heartbeat_s: float = 10,
        publish_tokens: Callable[[str, str, str, str], None] = lambda *_: None,
    ) -> None:
        self._name = name
        self._queue = queue
        self._ask = ask
        self._engine = engine
        self._queues = queues
        self._slots = asyncio.Semaphore(concurrency)
        self._heartbeat_s = heartbeat_s
        self._publish_tokens = publish_tokens
        self._running: dict[asyncio.Task[None], Work] = {}

    async def run(self) -> None:
        """Take work until cancelled; then hand back what is still running."""
        try:
            while True:
                await self._slots.acquire()
                delivery = await self._next()
                task = asyncio.create_task(self._work_on(delivery))
                self._running[task] = delivery.work
                task.add_done_callback(self._finished)
        finally:
            await self._hand_back_all()

    def stop(self, execution_id: str) -> None:
        """The execution has ended (a control message says so): stop its steps here, acknowledged."""
        for task, work in self._running.items():
            if work.execution_id == execution_id:
                task.cancel("ended")

    async def _next(self) -> Delivery:
        while True:
            try:
                delivery = await self._queue.take(self._queues, timeout_s=5)
            except (KasalError, OSError, TimeoutError) as error:
                log.warning("work queue is away", error=str(error))
                await asyncio.sleep(0.5)
                continue
            if delivery is not None:
                return delivery

    def _finished(self, task: asyncio.Task[None]) -> None:
        del self._running[task]
        self._slots.release()
        if not task.cancelled() and (error := task.exception()):
            log.error("a step ended without an end", error=repr(error))

    async def _hand_back_all(self) -> None:
        tasks = list(self._running)
        for task in tasks:
            task.cancel("handed back")
        if tasks:
            await asyncio.wait(tasks, timeout=5)

    async def _work_on(self, delivery: Delivery) -> None:
        heart = asyncio.create_task(self._keep(delivery))
        try:
            await self._run_step(delivery)
        except Stopped as stopped:
            log.info("step stopped", execution=delivery.work.execution_id, reason=str(stopped))
            if not stopped.is_over:
                return
        except asyncio.CancelledError as cancelled:
            if cancelled.args == ("handed back",):
                await hand_back(delivery)
                raise
        finally:
            heart.cancel()
        await acknowledge(delivery)

    async def _keep(self, delivery: Delivery) -> None:
        """Heartbeats; a missed one is not the end: the report's refusal is."""
        while True:
            await asyncio.sleep(self._heartbeat_s)
            with suppress(KasalError, OSError, TimeoutError):
                await delivery.extend()

    async def _run_step(self, delivery: Delivery) -> None:
        work = delivery.work
        channel = Channel(self._ask, self._name, work)
        claim = StartStep(
            execution_id=work.execution_id,
            step=work.step,
            turn=work.turn,
            delivery=delivery.number,
            runner=self._name,
        )
        assignment = (await channel.send(claim)).assignment
        if assignment is None:
            raise Stopped("the claim was answered without an assignment")

        def publish(call: str, text: str) -> None:
            self._publish_tokens(work.tenant, work.execution_id, call, text)

        reporter = StepReporter(channel, assignment, publish)
        await reporter.record(await self._outcome(assignment, reporter))

    async def _outcome(self, assignment: Assignment, reporter: StepReporter) -> StepCompleted | StepFailed:
        try:
            return await self._engine.run(assignment, reporter)
        except Exception as error:  # noqa: BLE001 - the loop's one: an engine's bug ends its step only
            frames = traceback.format_tb(error.__traceback__)[-5:]  # not the message: it may hold a prompt
            log.error(
                "engine failed", error=type(error).__name__, frames=frames, execution=assignment.execution_id
            )
            failure = Failure("engine_failed", f"{type(error).__name__} in the runner's engine")
            return StepFailed(step=assignment.step, attempt=assignment.attempt, failure=failure)


async def acknowledge(delivery: Delivery) -> None:
    await attempt_thrice(delivery.done)


async def hand_back(delivery: Delivery) -> None:
    await attempt_thrice(delivery.hand_back)


async def attempt_thrice(action: Callable[[], Awaitable[Any]]) -> None:
    """An acknowledgement that is lost costs a redelivery, which the log refuses: three tries are enough."""
    for _ in range(3):
        try:
            await action()
        except (KasalError, OSError, TimeoutError):
            await asyncio.sleep(0.2)
        else:
            return
