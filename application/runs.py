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

from application.asking import Channel, Claimed
from application.ports import Assignment, Crashed, CrewEngine, Delivery, Handler, Stopped, Work, WorkQueue
from application.recalling import read_outputs, with_past
from application.reporting import StepReporter
from domain.errors import KasalError, NotFound, TooLarge
from domain.execution import (
    Failure,
    StartStep,
    StepCompleted,
    StepFailed,
    StepReleased,
)

log = structlog.get_logger()


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
        offered: Callable[[Work], bytes | None] = lambda _: None,
    ) -> None:
        """offered: what the dispatcher has sent ahead of the work; see `application.offering`."""
        self._name = name
        self._queue = queue
        self._ask = ask
        self._engine = engine
        self._queues = queues
        self._slots = asyncio.Semaphore(concurrency)
        self._heartbeat_s = heartbeat_s
        self._publish_tokens = publish_tokens
        self._offered = offered
        self._running: dict[asyncio.Task[None], Work] = {}
        self._standing_by: set[asyncio.Task[None]] = set()
        self._reporters: dict[asyncio.Task[None], StepReporter] = {}

    async def run(self) -> None:
        """Take work until cancelled; then hand back what is still running."""
        try:
            while True:
                await self._slots.acquire()
                delivery = await self._next()
                first = self._worker_on(delivery.work)
                work = self._stand_by(delivery, first) if first else self._work_on(delivery)
                task = asyncio.create_task(work)
                if first:
                    self._standing_by.add(task)
                self._running[task] = delivery.work
                task.add_done_callback(self._finished)
        finally:
            await self._hand_back_all()

    def stop(self, execution_id: str) -> None:
        """The execution has ended (a control message says so): stop its steps here, acknowledged."""
        for task, work in self._running.items():
            if work.execution_id == execution_id:
                task.cancel("ended")

    def drain(self, execution_id: str) -> None:
        """The execution is paused (a control message says so): its steps here begin nothing more."""
        for task, reporter in list(self._reporters.items()):
            if self._running[task].execution_id == execution_id:
                reporter.drain()

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

    def _worker_on(self, work: Work) -> asyncio.Task[None] | None:
        """Who works on the same turn of a step here already."""
        for task, other in self._running.items():
            is_same = (other.execution_id, other.step, other.turn) == (
                work.execution_id,
                work.step,
                work.turn,
            )
            if is_same and task not in self._standing_by:
                return task
        return None

    async def _stand_by(self, delivery: Delivery, first: asyncio.Task[None]) -> None:
        """The queue has lost what it had given, and gave it again: keep it from others until that is done."""
        heart = asyncio.create_task(self._keep(delivery))
        try:
            await asyncio.wait((first,))
        finally:
            heart.cancel()
            await hand_back(delivery)

    def _finished(self, task: asyncio.Task[None]) -> None:
        del self._running[task]
        self._standing_by.discard(task)
        if reporter := self._reporters.pop(task, None):
            reporter.close()
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
        except Crashed as crashed:
            log.error("a step crashed", execution=delivery.work.execution_id, reason=str(crashed))
            await hand_back(delivery)
            return
        except Stopped as stopped:
            log.info("step stopped", execution=delivery.work.execution_id, reason=str(stopped))
            if not stopped.is_over:
                delivery.let_go()
                return
        except asyncio.CancelledError as cancelled:
            if cancelled.args == ("handed back",):
                await self._flush()
                await hand_back(delivery)
                raise
        finally:
            heart.cancel()
        await acknowledge(delivery)

    async def _flush(self) -> None:
        """What this task's step has come to is in the log before another runner begins it."""
        task = asyncio.current_task()
        if task is not None and (reporter := self._reporters.get(task)) is not None:
            await reporter.flush()

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
        offer = self._offered(work)
        granted = await channel.claim(claim, offer if delivery.number == 1 else None)
        claimed = granted.assignment

        def publish(call: str, text: str) -> None:
            self._publish_tokens(work.tenant, work.execution_id, call, text)

        reporter = StepReporter(channel, granted, publish)
        if (task := asyncio.current_task()) in self._running:
            self._reporters[task] = reporter
        try:
            assignment = await whole(channel, granted)
            await reporter.record(await self._drained_in_time(assignment, reporter))
        except NotFound as error:
            await reporter.record(failed(claimed, Failure("content_lost", str(error))))
        except TooLarge as error:
            await reporter.record(failed(claimed, Failure("report_too_large", str(error))))
        except Stopped as stopped:
            if stopped.is_draining:
                await reporter.record(StepReleased(step=claimed.step, attempt=claimed.attempt))
            raise

    async def _drained_in_time(
        self, assignment: Assignment, reporter: StepReporter
    ) -> StepCompleted | StepFailed:
        """How the step ended. Raises `Stopped` at the latest `DRAIN_WITHIN_S` after it was told to let go."""
        run = asyncio.create_task(self._outcome(assignment, reporter))
        try:
            await asyncio.wait((run, reporter.overdue), return_when=asyncio.FIRST_COMPLETED)
            if not run.done():
                raise Stopped("calls in flight did not end in time", is_over=True, is_draining=True)
            return await run
        finally:
            if not run.done():
                run.cancel()
                await asyncio.wait([run])

    async def _outcome(self, assignment: Assignment, reporter: StepReporter) -> StepCompleted | StepFailed:
        try:
            return await self._engine.run(assignment, reporter)
        except TooLarge:
            raise
        except Exception as error:  # noqa: BLE001 - the loop's one: an engine's bug ends its step only
            frames = traceback.format_tb(error.__traceback__)[-5:]  # not the message: it may hold a prompt
            log.error(
                "engine failed", error=type(error).__name__, frames=frames, execution=assignment.execution_id
            )
            failure = Failure("engine_failed", f"{type(error).__name__} in the runner's engine")
            return failed(assignment, failure)


async def whole(channel: Channel, granted: Claimed) -> Assignment:
    """The assignment with what did not fit its message. Raises `NotFound` for a text that was erased."""
    outputs = await read_outputs(channel, granted.assignment, has_more=granted.has_more)
    assignment = msgspec.structs.replace(granted.assignment, outputs=outputs)
    return await with_past(channel, assignment, granted.past) if assignment.has_past else assignment


def failed(assignment: Assignment, failure: Failure) -> StepFailed:
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
