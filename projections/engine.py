"""The projector process: follows the feed once and keeps every read model up to date, for ever.

Called by `kasal projector` and `kasal up`; several may run. Its one rule: whatever goes away (feed, log,
database, or the lead to another projector) is waited for, and work goes on from the position that is stored.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, AsyncIterator, Coroutine, Sequence
from functools import partial
from typing import Any, Protocol

import structlog

from domain.errors import NotCaughtUp, Unavailable
from domain.message import Recorded
from projections.advance import Build, Fenced
from projections.building import prepare, see_through, stand_still
from projections.database.shape import ReadDatabase
from projections.projection import Projection
from projections.projector import Projector, running
from projections.stream_reader import LogReader

SILENCE_S = 1.0
"""A feed that says nothing for this long is not believed: the log is asked."""

DISTRUST_S = 0.05
"""How soon the log is asked again after it knew more than the feed."""

FAR_BEHIND = 1_000
"""A build that lags the others by more catches up by itself before it joins them."""

STANDBY_S = 0.25
"""How long a projector that lost a batch to another one lets it have the next, before it tries itself."""

LONGEST_PAUSE_S = 2.0

log = structlog.get_logger()


class Feed(Protocol):
    """The part of the feed that projections follow."""

    def follow(
        self, after_position: int, *, tags: Sequence[str] = ()
    ) -> AsyncIterator[Sequence[Recorded]]: ...


async def project(
    projections: Sequence[Projection], events: LogReader, feed: Feed, read_db: ReadDatabase
) -> None:
    """Until cancelled. While the feed is away it works from the log; while the database is, it waits."""
    follower = _Follower(projections, events, feed, read_db)
    pause_s, resume = 0.0, True
    while True:
        began = time.monotonic()
        try:
            await follower.load(resume=resume)
            resume = False
            await follower.run()
        except Exception as error:  # noqa: BLE001 - the one of this process loop
            log.warning("projections pause", error=f"{type(error).__name__}: {error}")
        finally:
            await follower.end_side_tasks()
        lasted_s = time.monotonic() - began
        pause_s = 0.05 if lasted_s > LONGEST_PAUSE_S else min(LONGEST_PAUSE_S, max(0.05, 2 * pause_s))
        await asyncio.sleep(pause_s)


class _Follower:
    """live: builds that move with the feed, together. side: tasks for those that are not there yet."""

    def __init__(
        self, projections: Sequence[Projection], events: LogReader, feed: Feed, read_db: ReadDatabase
    ) -> None:
        self._projections = projections
        self._events = events
        self._feed = feed
        self._read_db = read_db
        self._projector = Projector(read_db, events)
        self._live: list[Build] = []
        self._side: dict[asyncio.Task[None], Build] = {}
        self._is_standby = False

    async def load(self, *, resume: bool = False) -> None:
        """Read the bookkeeping; make what is missing; go on with what a crash or a release left undone."""
        builds = await self._read_db.write(partial(prepare, projections=self._projections, resume=resume))
        await self._end_side_tasks_of({build.record.id for build in builds if build.record.role == "live"})
        on_side = {build.record.id for build in self._side.values()}
        builds = [build for build in builds if build.record.id not in on_side]
        self._live = [build for build in builds if build.record.role == "live"]
        highest = max((build.position for build in running(self._live)), default=0)
        for build in builds:
            if build.stopped is not None:
                continue
            if build.record.role == "building":
                self._start(build, self._see_through(build, watch_first=not resume))
            elif highest - build.position > FAR_BEHIND:
                self._live.remove(build)
                self._start(build, self._come_near(build, highest))

    async def run(self) -> None:
        """Follow the feed, and the log where the feed is silent."""
        await self._follow_log()
        batches = self._feed.follow(self._lowest())
        reading = asyncio.ensure_future(_next(batches))
        patience_s = SILENCE_S
        try:
            while True:
                await asyncio.wait(
                    {reading, *self._side}, timeout=patience_s, return_when=asyncio.FIRST_COMPLETED
                )
                await self._settle_side_tasks()
                batch: Sequence[Recorded] = ()
                if reading.done():
                    batch = reading.result()
                    reading = asyncio.ensure_future(_next(batches))
                if batch:
                    patience_s = SILENCE_S if await self._apply(batch) else DISTRUST_S
                else:
                    patience_s = DISTRUST_S if await self._follow_log() else SILENCE_S
        finally:
            await _end([reading])
            await _close(batches)

    async def end_side_tasks(self) -> None:
        tasks, self._side = list(self._side), {}
        await _end(tasks)

    async def _end_side_tasks_of(self, live: set[int]) -> None:
        """Builds that another worker has filled and shown need no task any more."""
        shown = [t for t, b in self._side.items() if b.record.role == "building" and b.record.id in live]
        for task in shown:
            del self._side[task]
        await _end(shown)

    async def _apply(self, batch: Sequence[Recorded]) -> bool:
        """Fold a batch, unless another projector does. Returns whether either is certain."""
        if self._is_standby and await self._others_reach(batch[-1].position):
            return True
        if self._is_standby:
            await self._take_over()
        while not self._is_standby:
            try:
                await self._projector.follow(self._live, batch)
            except Fenced:
                await self._give_way()
            else:
                return True
        return False

    async def _take_over(self) -> None:
        self._is_standby = False
        await self.load()

    async def _give_way(self) -> None:
        """Another projector was first; or tables were switched, or mended, and this one goes on with them."""
        before = {build.record.id: build.position for build in self._live}
        await self.load()
        self._is_standby = any(b.position > before.get(b.record.id, b.position) for b in self._live)

    async def _others_reach(self, position: int) -> bool:
        names = [build.name for build in running(self._live)]
        try:
            if names:
                await self._read_db.positions.reach(names, position, STANDBY_S)
        except NotCaughtUp:
            return False
        return True

    async def _follow_log(self) -> bool:
        """Catch up from the log. Returns whether it knew more than was folded."""
        try:
            head = await self._events.head()
        except Unavailable as error:
            log.warning("the log is away", error=str(error))
            return False
        if not running(self._live) or head <= self._lowest():
            return False
        if self._is_standby and await self._others_reach(head):
            return False
        if self._is_standby:
            await self._take_over()
        try:
            await self._projector.catch_up(self._live, head)
        except Fenced:
            await self._give_way()
        return True

    async def _see_through(self, build: Build, *, watch_first: bool) -> None:
        await see_through(
            build.projection, build.record.id, self._read_db, self._events, watch_first=watch_first
        )

    async def _come_near(self, build: Build, target: int) -> None:
        projector = Projector(self._read_db, self._events, background=True)
        while build.position < target and build.stopped is None:
            try:
                await projector.catch_up([build], target)
            except Fenced:
                await stand_still(build.record.id, self._read_db)
                return
            except Unavailable:
                await asyncio.sleep(LONGEST_PAUSE_S)

    def _start(self, build: Build, work: Coroutine[None, None, None]) -> None:
        self._side[asyncio.create_task(work, name=f"projection {build.name}")] = build

    async def _settle_side_tasks(self) -> None:
        """Builds that came near join the others; after a switch the bookkeeping is read again."""
        ended = [task for task in self._side if task.done()]
        for task in ended:
            build = self._side.pop(task)
            if (error := task.exception()) is not None:
                log.error("projection build ended", projection=build.name, error=str(error))
        if ended:
            await self.load()

    def _lowest(self) -> int:
        return min((build.position for build in running(self._live)), default=0)


async def _next(batches: AsyncIterator[Sequence[Recorded]]) -> Sequence[Recorded]:
    return await anext(batches)


async def _end(tasks: Sequence[asyncio.Future[Any]]) -> None:
    for task in tasks:
        task.cancel()
    if tasks:
        await asyncio.wait(tasks)


async def _close(batches: AsyncIterator[Sequence[Recorded]]) -> None:
    if isinstance(batches, AsyncGenerator):
        await batches.aclose()
