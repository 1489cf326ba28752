"""Brings builds forward through batches of events, whatever a batch holds.

Used by the process loop (`engine.py`) and by builds made aside (`building.py`). Its one rule: an event is
folded, parked or stopped at; it is never skipped.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import partial
from itertools import groupby

import structlog

from domain.errors import Unavailable, UnknownEvent
from domain.message import Recorded
from projections.advance import (
    Build,
    Fenced,
    FoldFailed,
    advance,
    dead_letter,
    kind_of,
    move,
    write_dead_letter,
)
from projections.database.shape import Damaged, ReadDatabase, RowRefused, Session
from projections.erasure import with_past
from projections.projection import Fact
from projections.stream_reader import LogReader

PAGE = 2_000
"""Events that are read from the log and folded at once."""

BACKGROUND_PAGE = 5_000
"""The same for builds made aside: more rows are written once instead of twice, and nobody waits."""

RETRY_AFTER_S = (0.02, 0.2)
"""Pauses before an event that a fold failed on is tried again; after them it is parked."""

log = structlog.get_logger()


class FeedAhead(Exception):
    """The feed has events that the log has not: they are not of this log."""


class Projector:
    """Advances builds of one read database. background: on the lane of builds made aside."""

    def __init__(self, read_db: ReadDatabase, events: LogReader, *, background: bool = False) -> None:
        self._read_db = read_db
        self._events = events
        self._background = background
        self._page = BACKGROUND_PAGE if background else PAGE

    async def follow(self, builds: Sequence[Build], batch: Sequence[Recorded]) -> None:
        """Apply a batch of the feed to builds at any positions; what lies between is read from the log."""
        for position, group in grouped(builds):
            fresh = [recorded for recorded in batch if recorded.position > position]
            if not fresh:
                continue
            if fresh[0].position != position + 1 or not is_whole(fresh):
                await self.catch_up(group, fresh[-1].position)
                if any(build.position < fresh[-1].position for build in running(group)):
                    raise FeedAhead(f"the feed is at {fresh[-1].position}, the log is not")
            else:
                await self.apply(group, await with_past(fresh, self._events))

    async def catch_up(self, builds: Sequence[Build], target: int) -> None:
        """Read the log up to a position, a page ahead of the folds. Builds at different positions in turn."""
        for position, group in grouped(builds):
            await self._catch_up_group(group, position, target)

    async def apply(self, builds: Sequence[Build], facts: Sequence[Fact]) -> None:
        """Fold facts into builds that are all right before them; into each alone if one of them fails."""
        try:
            await self._advance(builds, facts)
        except (FoldFailed, RowRefused, Damaged):
            for build in builds:
                await self._apply_alone(build, facts)

    async def _catch_up_group(self, group: Sequence[Build], position: int, target: int) -> None:
        reading = self._read(position, target)
        try:
            while page := await reading:
                reading = self._read(page[-1].position, target)
                await self.apply(group, await with_past(page, self._events))
                if not (group := running(group)):
                    break
        finally:
            reading.cancel()

    def _read(self, position: int, target: int) -> asyncio.Task[Sequence[Recorded]]:
        return asyncio.ensure_future(self._read_page(position, target))

    async def _read_page(self, position: int, target: int) -> Sequence[Recorded]:
        wanted = min(self._page, target - position)
        return await self._events.read_all(position, wanted) if wanted > 0 else ()

    async def _apply_alone(self, build: Build, facts: Sequence[Fact]) -> None:
        """Down to the one event that fails, with everything before and after it folded in batches."""
        if build.stopped is not None or not facts:
            return
        try:
            await self._advance([build], facts)
        except Damaged as error:
            await self._stop(build, facts[0], error)
        except (FoldFailed, RowRefused) as error:
            if len(facts) == 1:
                await self._try_again(build, facts[0], error)
                return
            for part in parts(facts, error):
                await self._apply_alone(build, part)

    async def _try_again(self, build: Build, fact: Fact, error: Exception) -> None:
        for pause in RETRY_AFTER_S:
            if isinstance(error, FoldFailed) and isinstance(error.error, UnknownEvent):
                await self._stop(build, fact, error.error)
                return
            await asyncio.sleep(pause)
            try:
                await self._advance([build], [fact])
            except (FoldFailed, RowRefused) as again:
                error = again
            else:
                return
        await self._park(build, fact, error)

    async def _park(self, build: Build, fact: Fact, error: Exception) -> None:
        await self._write([build], partial(park, build=build, fact=fact, error=str(error)))
        build.parked |= {fact.stream}
        self._moved([build], fact.position)
        log.error("event parked", **about(build, fact), error=kind_of(error))

    async def _stop(self, build: Build, fact: Fact, error: Exception) -> None:
        await self._write([build], partial(stop, build=build, reason=str(error)))
        build.stopped = str(error)
        log.critical("projection stopped", **about(build, fact), error=str(error))

    async def _advance(self, builds: Sequence[Build], facts: Sequence[Fact]) -> None:
        await self._write(builds, partial(advance, builds=builds, facts=facts))
        self._moved(builds, facts[-1].position)
        if not self._background and any(fact.past for fact in facts):
            with suppress(Unavailable):
                await self._read_db.forget_old_pages()

    async def _write(self, builds: Sequence[Build], work: Callable[[Session], None]) -> None:
        writing = asyncio.ensure_future(self._read_db.write(work, background=self._background))
        try:
            await asyncio.shield(writing)
        except BaseException:
            await asyncio.wait([writing])  # its thread works on these rows: forgotten now, half is committed
            for build in builds:
                build.rows.forget()
            raise

    def _moved(self, builds: Sequence[Build], position: int) -> None:
        for build in builds:
            build.position = position
            build.rows.settle()
        self._read_db.positions.moved({b.name: b.position for b in builds if b.record.role == "live"})


def park(session: Session, build: Build, fact: Fact, error: str) -> None:
    """The event and, from now on, its stream lie aside; the build goes on behind it."""
    session.lock(build.record.id)
    if not session.change((), move([build], fact.position)):
        raise Fenced
    write_dead_letter(session, dead_letter(build, fact, error))


def stop(session: Session, build: Build, reason: str) -> None:
    """The build stays where it is until a release that can go on. Raises `Fenced` when it is not there."""
    stopped = session.execute(
        "UPDATE kasal_projections SET stopped = :reason "
        "WHERE id = :id AND fence = :fence AND position = :position",
        {
            "reason": reason.replace("\0", "\ufffd"),
            "id": build.record.id,
            "fence": build.record.fence,
            "position": build.position,
        },
    )
    if stopped.rowcount != 1:
        raise Fenced


def running(builds: Sequence[Build]) -> list[Build]:
    return [build for build in builds if build.stopped is None]


def grouped(builds: Sequence[Build]) -> list[tuple[int, list[Build]]]:
    """Builds that are not stopped, by their position: a group is folded in one transaction."""
    ordered = sorted(running(builds), key=lambda build: build.position)
    return [(position, list(group)) for position, group in groupby(ordered, key=lambda build: build.position)]


def is_whole(batch: Sequence[Recorded]) -> bool:
    return batch[-1].position - batch[0].position + 1 == len(batch)


def parts(facts: Sequence[Fact], error: Exception) -> tuple[Sequence[Fact], ...]:
    """Around the fact that failed where that is known, in halves where it is not."""
    if isinstance(error, FoldFailed):
        at = error.index
        return facts[:at], facts[at : at + 1], facts[at + 1 :]
    half = len(facts) // 2
    return facts[:half], facts[half:]


def about(build: Build, fact: Fact) -> dict[str, object]:
    """Which event of which build, for the log; nothing of what it says."""
    return {
        "projection": build.name,
        "position": fact.position,
        "stream": fact.stream,
        "tag": fact.tag,
    }
