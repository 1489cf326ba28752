"""What an administrator does with projections: `kasal projections list | rebuild | verify | retry`.

Called by the CLI, beside running projectors. Its one rule: queries go on meanwhile, on whole tables.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

import msgspec

from domain.errors import NotFound
from projections.bookkeeping import Record, live_of, records, set_up
from projections.building import create_aside, see_through
from projections.database.shape import ReadDatabase, Session
from projections.dead_letters import DeadLetter, letters_of, replay
from projections.projection import Projection
from projections.stream_reader import LogReader


class ProjectionStatus(msgspec.Struct, frozen=True, kw_only=True):
    """A build of a projection.

    lag      events of the log that it has not folded
    status   live, building, verifying, or stopped (then `reason` says why)
    parked   dead letters
    """

    name: str
    version: int
    position: int
    lag: int
    status: str
    parked: int
    reason: str | None = None


async def list_projections(read_db: ReadDatabase, events: LogReader) -> list[ProjectionStatus]:
    """Every build, by name. Sets the bookkeeping up where nothing was projected yet."""
    builds, parked = await read_db.write(_builds_and_parked)
    head = await events.head()
    return [
        ProjectionStatus(
            name=record.name,
            version=record.version,
            position=record.position,
            lag=max(0, head - record.position),
            status="stopped" if record.stopped is not None else record.role,
            parked=parked.get(record.id, 0),
            reason=record.stopped,
        )
        for record in sorted(builds, key=lambda record: (record.name, record.id))
    ]


async def rebuild(projection: Projection, read_db: ReadDatabase, events: LogReader) -> None:
    """Fill new tables from the whole log and show them in place of the old, which answer until then.

    A crash on the way leaves the old ones; the next projector that starts goes on with the new. Raises
    `BuildStopped` when an event is unknown.
    """
    build = await read_db.write(partial(create_aside, projection=projection, role="building"))
    await see_through(projection, build.record.id, read_db, events)


class Retried(msgspec.Struct, frozen=True):
    """folded: events that were parked and now are not. parked: those that still are."""

    folded: int
    parked: int


async def retry(projection: Projection, read_db: ReadDatabase) -> Retried:
    """Fold the live build's dead letters, each stream in its order, up to the first that fails again."""
    record = live_of(await read_db.write(partial(_records, name=projection.name)))
    if record is None or record.version != projection.version:
        raise NotFound(f"{projection.name} has no live tables of version {projection.version}")
    letters: Sequence[DeadLetter] = await read_db.write(partial(letters_of, build_id=record.id))
    folded, failed = 0, set[str]()
    while letters:
        for letter in letters:
            if letter.stream in failed:
                continue
            if await replay(read_db, projection, record.id, letter):
                folded += 1
            else:
                failed.add(letter.stream)
        remaining = await read_db.write(partial(letters_of, build_id=record.id))
        letters = [letter for letter in remaining if letter.stream not in failed]
    return Retried(folded, len(remaining))


def _records(session: Session, name: str) -> list[Record]:
    set_up(session)
    return records(session, name)


def _builds_and_parked(session: Session) -> tuple[list[Record], dict[int, int]]:
    set_up(session)
    counts = session.fetch("SELECT build_id, count(*) FROM kasal_dead_letters GROUP BY build_id")
    return records(session), {row[0]: row[1] for row in counts}


__all__ = ["ProjectionStatus", "Retried", "list_projections", "rebuild", "retry"]
