"""Dispatcher: turns the feed into work for runners, and tells them when an execution has ended.

Called by `kasal dispatcher`. Safe to run several times over: the queue keeps a turn of a step once, and a
claim that comes twice is refused by the log. What the queue forgot (its store was lost) is found again in
the read tables.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from typing import Literal, NamedTuple, Protocol, TypeVar

import msgspec
import structlog

from application.admission import GRANTED, HELD, Admission, Candidate
from application.children import WANTED, Children, OpenChild
from application.commands import CommandHandler, Context
from application.day_budgets import DayBudgets
from application.offering import Offers
from application.ports import FeedTrimmed, Work, WorkQueue
from domain.errors import KasalError
from domain.execution import (
    ExecutionCancelled,
    ExecutionCompleted,
    ExecutionFailed,
    ExecutionPaused,
    ExecutionTimedOut,
    RescheduleStep,
    StepScheduled,
)
from domain.message import Recorded, tag_of
from domain.registry import event_of

log = structlog.get_logger()

QUEUE_WATCH_S = 2.0

GONE = "its runner is gone"
"""Why a step is scheduled again."""

SCHEDULED = tag_of(StepScheduled)
PAUSED = tag_of(ExecutionPaused)
STOPPED = tuple(tag_of(event) for event in (ExecutionFailed, ExecutionCancelled, ExecutionTimedOut))
"""Ends with steps under way. Of a completed one each has reported its end, and the last one's report has
settled its share of the day."""

ENDED = (tag_of(ExecutionCompleted), *STOPPED)

FOLLOWED = (SCHEDULED, PAUSED, HELD, GRANTED, *WANTED, *ENDED)


class OpenStep(msgspec.Struct, frozen=True, kw_only=True):
    """A step that the read tables show as unfinished, of an execution that has not ended.

    is_with_runner  its attempt is under way, or was told to let go and has not yet
    is_draining     it was told so
    is_queued       the queue has to hold its turn
    runner          whose attempt that is, "" where it is with none
    delivery        of the turn, under which it was begun; 0 while it was not
    """

    tenant: str
    execution_id: str
    step: str
    turn: int
    is_with_runner: bool
    is_draining: bool = False
    is_queued: bool = True
    queue: str = "default"
    priority: int = 5
    runner: str = ""
    delivery: int = 0


class Feed(Protocol):
    """The part of the feed that the dispatcher follows."""

    def follow(
        self, after_position: int, *, tags: Sequence[str] = ()
    ) -> AsyncIterator[Sequence[Recorded]]: ...


class OpenWork(NamedTuple):
    """What is not finished, as of a position."""

    position: int
    steps: Sequence[OpenStep]
    candidates: Sequence[Candidate] = ()
    children: Sequence[OpenChild] = ()


class FindOpen(Protocol):
    """The read tables' view of what is not finished."""

    async def __call__(self) -> OpenWork: ...


Order = Literal["stop", "drain"]
"""stop: the execution has ended. drain: begin nothing more, let what is in flight come to its end."""


class Announce(Protocol):
    """Tells every runner what an execution asks of it; transient, may be lost: the log refuses the rest."""

    async def __call__(self, execution_id: str, order: Order) -> None: ...


class Dispatcher:
    """One of any number. `follow` and `watch_queue` run side by side for ever."""

    def __init__(
        self,
        feed: Feed,
        queue: WorkQueue,
        commands: CommandHandler,
        find_open: FindOpen,
        announce: Announce,
        offers: Offers,
        *,
        runners_are_gone: bool = False,
    ) -> None:
        """runners_are_gone: none can be alive yet (`kasal up` starts them all); do not wait for leases."""
        self._feed = feed
        self._queue = queue
        self._commands = commands
        self._find_open = find_open
        self._admission = Admission(commands)
        self._children = Children(commands)
        self._announce = announce
        self._offers = offers
        self._days = DayBudgets(commands)
        self._runners_are_gone = runners_are_gone

    async def run(self) -> None:
        """Raises nothing but cancellation: what is away is waited for."""
        incarnation = await patiently(self._queue.incarnation)
        position = await patiently(self._recover)
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._follow(position))
            tasks.create_task(self._watch_queue(incarnation))

    async def _follow(self, position: int) -> None:
        async def follow() -> None:
            nonlocal position
            try:
                async for batch in self._feed.follow(position, tags=FOLLOWED):
                    if batch:
                        await self._take(batch)
                        position = batch[-1].position
            except FeedTrimmed:
                position = await self._recover()
                raise

        await patiently(follow)

    async def _take(self, batch: Sequence[Recorded]) -> None:
        ends = [recorded for recorded in batch if recorded.tag in ENDED]
        await asyncio.gather(
            *map(self._dispatch, batch),
            self._admission.follow(batch, ends),
            self._children.follow(batch, ends),
        )

    async def _dispatch(self, recorded: Recorded) -> None:
        if recorded.tag == SCHEDULED:
            if not is_delayed(recorded):
                work = work_of(recorded)
                await self._offers.ahead_of(work)
                await self._queue.enqueue(work)
        elif recorded.tag in STOPPED:
            await self._announce(recorded.entity_id, "stop")
            context = Context(actor="system:dispatcher", tenant=recorded.metadata.tenant)
            await self._days.settle_at_rest(recorded.entity_id, context)
        elif recorded.tag == PAUSED:
            await self._announce(recorded.entity_id, "drain")

    async def _watch_queue(self, known: str) -> None:
        """A queue that was made anew, or was away, may have forgotten work: recover."""
        while True:
            await asyncio.sleep(QUEUE_WATCH_S)
            if (now := await patiently(self._queue.incarnation)) != known:
                log.warning("the work queue was away; putting back what it may have lost")
                await patiently(self._recover)
                known = now

    async def _recover(self) -> int:
        """Put every open step into the queue, which keeps a turn once. Returns the view's position.

        Where the runners are gone it is emptied before, and what they had counts as delivered to them.
        """
        if are_gone := self._runners_are_gone:
            await self._queue.empty()
        position, steps, candidates, children = await self._find_open()
        orphans = [step for step in steps if are_gone and step.is_draining]
        queued = [step for step in steps if step.is_queued and not (are_gone and step.is_draining)]
        await asyncio.gather(*map(self._reschedule, orphans))
        await asyncio.gather(
            *(self._queue.enqueue(again(step, step.delivery if are_gone else 0)) for step in queued)
        )
        self._runners_are_gone = False
        await self._admission.recover(candidates)
        await self._children.recover(children)
        return position

    async def _reschedule(self, step: OpenStep) -> None:
        """Its runner was told to let go, and would be waited for."""
        command = RescheduleStep(execution_id=step.execution_id, step=step.step, turn=step.turn, reason=GONE)
        await self._commands.handle(command, Context(actor="system:dispatcher", tenant=step.tenant))


def is_delayed(recorded: Recorded) -> bool:
    """Whether a timer will put the step into the queue; see `application.delays`."""
    event = event_of(recorded)
    return isinstance(event, StepScheduled) and event.delay_s > 0


def work_of(recorded: Recorded) -> Work:
    """The work that a `StepScheduled` event asks for, with the event as its cause."""
    event = event_of(recorded)
    assert isinstance(event, StepScheduled)  # noqa: S101 - its tag was compared
    metadata = recorded.metadata
    return Work(
        execution_id=recorded.entity_id,
        step=event.step,
        turn=event.turn,
        queue=event.queue,
        priority=event.priority,
        tenant=metadata.tenant,
        correlation_id=metadata.correlation_id,
        causation_id=metadata.event_id,
        traceparent=metadata.traceparent,
    )


def again(step: OpenStep, delivered: int) -> Work:
    return Work(
        execution_id=step.execution_id,
        step=step.step,
        turn=step.turn,
        delivered=delivered,
        queue=step.queue,
        priority=step.priority,
        tenant=step.tenant,
    )


T = TypeVar("T")


async def patiently(action: Callable[[], Awaitable[T]]) -> T:
    """Again until it goes through, with growing pauses; what is away comes back."""
    pause_s = 0.1
    while True:
        try:
            return await action()
        except (KasalError, OSError, TimeoutError) as error:
            log.warning("dispatcher waits", error=str(error))
            await asyncio.sleep(pause_s)
            pause_s = min(2 * pause_s, 2.0)
