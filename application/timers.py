"""Timers: something that has to be done at a time, kept outside of every process; and the loop that does it.

Called by `kasal dispatcher`. Its one rule: a timer may ring twice, late, or for what is over already; who set
it looks again at what is so before it does anything.

To add a kind: a `TimerKind` beside `application/timeouts.py` that hears the events which set its timers, does
what is due, and finds its timers again when their store was lost; and a line in
`infrastructure/dispatching.py`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from datetime import datetime
from typing import Protocol

import msgspec
import structlog

from application.dispatcher import Feed, patiently
from application.ports import Clock, FeedTrimmed
from domain.definition import Json
from domain.errors import KasalError
from domain.message import Recorded

log = structlog.get_logger()

STORE_WATCH_S = 2.0
TAKE_S = 5.0

MAX_EARLY_S = 2.0
"""How far ahead of ours the clock of the timers' store may be for a ring to be waited with."""


class Timer(msgspec.Struct, frozen=True, kw_only=True):
    """kind: who set it; key: its name within the kind; payload: what the kind wants to know then."""

    kind: str
    key: str
    due: datetime
    payload: Json = None
    tenant: str = "default"


class Due(Protocol):
    """A timer that rings. Without `done` it rings again after a while."""

    @property
    def timer(self) -> Timer: ...

    async def done(self) -> None: ...


class Timers(Protocol):
    """Where timers are kept. Adapters: memory, JetStream message schedules (`infrastructure/nats/`)."""

    async def set(self, timer: Timer) -> None:
        """In place of the one of the same kind and key. A time that has passed rings at once.

        Rings at its time or up to a second later. Raises `Unavailable`; then ask again.
        """
        ...

    async def cancel(self, kind: str, key: str) -> None:
        """It need not be there, and may just be ringing."""
        ...

    async def incarnation(self) -> str:
        """Changes when the store may have lost timers. Makes the store when it is missing."""
        ...

    async def take(self, timeout_s: float) -> Due | None:
        """The next one that rings, for one taker; None after `timeout_s`."""
        ...


class TimerKind(Protocol):
    """What sets the timers of one kind, and what is done when one rings.

    name  `Timer.kind`
    tags  of the events that it wants to hear
    """

    name: str
    tags: tuple[str, ...]

    async def heard(self, recorded: Recorded) -> None:
        """An event, in order, maybe again: set its timer, or cancel it."""
        ...

    async def rings(self, timer: Timer) -> None:
        """It is due, or was: look at what is so, and act."""
        ...

    async def recover(self) -> None:
        """The store may have lost everything: set again what the read tables say."""
        ...


class Alarms:
    """One of any number: the kinds hear events, and what rings is done."""

    def __init__(
        self,
        feed: Feed,
        timers: Timers,
        kinds: Sequence[TimerKind],
        read_position: Callable[[], Awaitable[int]],
        clock: Clock,
    ) -> None:
        """read_position: of the read tables that the kinds recover from."""
        self._feed = feed
        self._timers = timers
        self._kinds = {kind.name: kind for kind in kinds}
        self._read_position = read_position
        self._clock = clock

    async def run(self) -> None:
        """Raises nothing but cancellation: what is away is waited for."""
        incarnation = await patiently(self._timers.incarnation)
        position = await patiently(self._recover)
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._follow(position))
            tasks.create_task(self._watch(incarnation))
            tasks.create_task(self._ring())

    async def _follow(self, position: int) -> None:
        tags = tuple(sorted({tag for kind in self._kinds.values() for tag in kind.tags}))

        async def follow() -> None:
            nonlocal position
            try:
                async for batch in self._feed.follow(position, tags=tags):
                    for recorded in batch:
                        await self._hear(recorded)
                        position = recorded.position
            except FeedTrimmed:
                position = await self._recover()
                raise

        await patiently(follow)

    async def _hear(self, recorded: Recorded) -> None:
        for kind in self._kinds.values():
            if recorded.tag in kind.tags:
                await kind.heard(recorded)

    async def _ring(self) -> None:
        while True:
            if (due := await patiently(lambda: self._timers.take(TAKE_S))) is not None:
                await self._do(due)

    async def _do(self, due: Due) -> None:
        """What can not be done now rings again."""
        kind = self._kinds.get(due.timer.kind)
        if not await self._is_due(due.timer):
            return
        try:
            if kind is None:
                log.error("a timer of an unknown kind is dropped", kind=due.timer.kind)
            else:
                await kind.rings(due.timer)
            await due.done()
        except (KasalError, OSError, TimeoutError) as error:
            log.warning("a timer rings again later", kind=due.timer.kind, error=str(error))

    async def _is_due(self, timer: Timer) -> bool:
        """By our clock: a kind that looks too early would set it for the same time, again and again."""
        early_s = (timer.due - self._clock.now()).total_seconds()
        if early_s > MAX_EARLY_S:
            log.warning("a timer rang early: the clocks of NATS and of this host differ", seconds=early_s)
            return False
        await asyncio.sleep(max(0.0, early_s))
        return True

    async def _watch(self, known: str) -> None:
        """A store that was made anew, or was away, may have forgotten timers: set them again."""
        while True:
            await asyncio.sleep(STORE_WATCH_S)
            if (now := await patiently(self._timers.incarnation)) != known:
                log.warning("the timers' store was away; setting again what it may have lost")
                await patiently(self._recover)
                known = now

    async def _recover(self) -> int:
        position = await self._read_position()
        for kind in self._kinds.values():
            await kind.recover()
        return position
