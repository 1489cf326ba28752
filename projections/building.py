"""New tables beside the old: made, filled from the log, and shown in their place.

Used by the process loop for a new release's versions and by `kasal projections rebuild | verify`. Its one
rule: queries always see one whole build; the switch, and the end of the old tables, are one transaction.
"""

from __future__ import annotations

import asyncio
import gc
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial

import structlog

from domain.errors import Unavailable
from projections.advance import Build, Fenced
from projections.bookkeeping import Record, Role, create, drop, hide, live_of, records, set_up, show
from projections.database.shape import ReadDatabase, Session
from projections.projection import Projection
from projections.projector import Projector
from projections.stream_reader import LogReader

STANDS_STILL_S = 2.0
"""After which another worker's build is taken over."""

log = structlog.get_logger()


class BuildStopped(Exception):
    """A build aside can not go on; the old tables stay."""


def prepare(session: Session, projections: Sequence[Projection], *, resume: bool = False) -> list[Build]:
    """Every build that this release works on; those that are missing are made, empty.

    resume: let builds that had stopped try again, as a process does when it starts.
    """
    set_up(session)
    if resume:
        session.execute("UPDATE kasal_projections SET stopped = NULL WHERE stopped IS NOT NULL")
    found = []
    for projection in projections:
        found.extend(prepare_one(session, projection))
    return [build_of(session, projection, record) for projection, record in found]


def prepare_one(session: Session, projection: Projection) -> list[tuple[Projection, Record]]:
    existing = records(session, projection.name)
    live = live_of(existing)
    if live is None:
        return [(projection, create(session, projection, "live"))]
    if live.version > projection.version:
        log.warning("a newer release projects this", projection=live.name, version=live.version)
        return []
    for record in existing:
        if record.role == "building" and record.version < projection.version:
            drop(session, record)
    building = [r for r in existing if r.role == "building" and r.version == projection.version]
    if live.version == projection.version:
        return [(projection, record) for record in (live, *building)]
    return [(projection, building[0] if building else create(session, projection, "building"))]


def build_of(session: Session, projection: Projection, record: Record) -> Build:
    """A build as it stands, with the streams that are parked in it."""
    letters = "SELECT DISTINCT stream FROM kasal_dead_letters WHERE build_id = :id"
    parked = frozenset(row[0] for row in session.fetch(letters, {"id": record.id}))
    return Build(projection, record, parked)


def create_aside(session: Session, projection: Projection, role: Role) -> Build:
    """A new, empty build beside the live one."""
    set_up(session)
    return build_of(session, projection, create(session, projection, role))


async def finish(build: Build, read_db: ReadDatabase, events: LogReader) -> None:
    """Fill a build from the log until it is level with the live one, then put it in its place.

    Raises `BuildStopped`, and `Fenced` when another worker finishes the same build.
    """
    projector = Projector(read_db, events, background=True)
    while True:
        with collector_at_rest():
            await projector.catch_up([build], await events.head())
        if build.stopped is not None:
            raise BuildStopped(f"{build.name}: {build.stopped}")
        if await read_db.write(partial(switch, build=build), background=True):
            log.info("projection switched", projection=build.name, tables=build.record.tables)
            return


@contextmanager
def collector_at_rest() -> Iterator[None]:
    """Spare the garbage collector the objects that are there already: a quarter of the time of a fill."""
    gc.freeze()
    try:
        yield
    finally:
        gc.unfreeze()


def switch(session: Session, build: Build) -> bool:
    """Show the build instead of the live one, unless that has gone further meanwhile."""
    session.serialise()
    for table in build.projection.tables:
        session.analyse(table.shape(build.record.suffix))
    old = locked(session, build.name)
    if old is not None and old.position > build.position:
        return False
    if old is not None:
        hide(session, old)
        drop(session, old)
    shown = session.execute(
        "UPDATE kasal_projections SET role = 'live' WHERE id = :id AND fence = :fence AND role = 'building'",
        {"id": build.record.id, "fence": build.record.fence},
    )
    if shown.rowcount != 1:
        raise Fenced
    show(session, build.projection, build.record)
    return True


def locked(session: Session, name: str) -> Record | None:
    """The live build, which no worker can move before the session ends."""
    live = live_of(records(session, name))
    if live is not None:
        session.lock(live.id, within_s=1)
    return live_of(records(session, name))


async def see_through(
    projection: Projection,
    record_id: int,
    read_db: ReadDatabase,
    events: LogReader,
    *,
    watch_first: bool = False,
) -> None:
    """Until a build aside is shown or gone: work on it, or watch while another worker does.

    Raises `BuildStopped` at an unknown event.
    """
    if watch_first:
        await stand_still(record_id, read_db)
    while build := await read_db.write(partial(find, projection=projection, record_id=record_id)):
        try:
            await finish(build, read_db, events)
        except Fenced:
            await stand_still(build.record.id, read_db)
        except Unavailable:
            await asyncio.sleep(STANDS_STILL_S)


def find(session: Session, projection: Projection, record_id: int) -> Build | None:
    """A build aside, as it stands; None when it is shown, or gone."""
    for record in records(session, projection.name):
        if record.id == record_id and record.role == "building":
            return build_of(session, projection, record)
    return None


async def stand_still(record_id: int, read_db: ReadDatabase) -> None:
    """Return once nobody has moved a build for a while."""
    before = -1
    while (position := await position_of(record_id, read_db)) not in (before, None):
        before = position
        await asyncio.sleep(STANDS_STILL_S)


async def position_of(record_id: int, read_db: ReadDatabase) -> int | None:
    rows = await read_db.fetch("SELECT position FROM kasal_projections WHERE id = :id", {"id": record_id})
    return rows[0][0] if rows else None
