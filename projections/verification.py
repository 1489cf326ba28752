"""Proof that a read model is what its log says: built once more aside, and compared row by row.

Called by `kasal projections verify`. Its one rule: both sides are compared at the same position, while
projectors and queries go on.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from functools import partial
from typing import Any

import msgspec

from domain.errors import NotFound
from projections.bookkeeping import COLUMNS, Record, drop, records, set_up
from projections.building import BuildStopped, create_aside
from projections.database.shape import ReadDatabase, Row, Session, Snapshot
from projections.erasure import ERASED
from projections.projection import Projection
from projections.projector import Projector
from projections.stream_reader import LogReader
from projections.tables import ReadTable, Shape

PAGE = 500
AGAIN, AGAIN_AFTER_S = 10, 0.2
REPORTED = 100
"""Differences that are told one by one; more are only counted."""


class Difference(msgspec.Struct, frozen=True):
    """A row that is not as the log says; None on the side that lacks it."""

    table: str
    key: tuple[str | int, ...]
    is_now: str | None
    should_be: str | None


class Verification(msgspec.Struct, frozen=True, kw_only=True):
    """rows: compared, over all the projection's tables. count: of all differences."""

    name: str
    version: int
    position: int
    rows: int
    count: int
    differences: tuple[Difference, ...]

    @property
    def is_equal(self) -> bool:
        return self.count == 0


async def verify(projection: Projection, read_db: ReadDatabase, events: LogReader) -> Verification:
    """Compare the live tables with a fold of the log. Rows of parked streams differ, too, where they do.

    Once more where an execution is erased meanwhile: its events read otherwise before the live tables have
    heard of it. Raises `NotFound` when there are no live tables of this version, `BuildStopped` at an unknown
    event.
    """
    answer = await verified_once(projection, read_db, events)
    for _ in range(AGAIN):
        if answer.is_equal or not await erased_beyond(answer.position, events):
            break
        await asyncio.sleep(AGAIN_AFTER_S)
        answer = await verified_once(projection, read_db, events)
    return answer


async def erased_beyond(position: int, events: LogReader) -> bool:
    """Whether an execution was erased behind a position."""
    while page := await events.read_all(position, PAGE):
        if any(event.tag == ERASED for event in page):
            return True
        position = page[-1].position
    return False


async def verified_once(projection: Projection, read_db: ReadDatabase, events: LogReader) -> Verification:
    async with read_db.snapshot() as snapshot:
        live = await live_in(snapshot, projection)
        await read_db.write(partial(drop_older, name=projection.name), background=True)
        build = await read_db.write(
            partial(create_aside, projection=projection, role="verifying"), background=True
        )
        await Projector(read_db, events, background=True).catch_up([build], live.position)
        if build.stopped is not None:
            raise BuildStopped(f"{build.name}: {build.stopped}")
        if build.position != live.position:
            raise BuildStopped(f"{build.name}: the log ends at {build.position}, before {live.position}")
        async with read_db.snapshot() as aside:
            answer = await compare(projection, snapshot, live, aside, build.record)
    await read_db.write(partial(drop_older, name=projection.name), background=True)
    return answer


async def compare(
    projection: Projection, snapshot: Snapshot, live: Record, aside: Snapshot, record: Record
) -> Verification:
    rows = count = 0
    differences: list[Difference] = []
    for table in projection.tables:
        ours = all_rows(snapshot, table.shape(live.suffix))
        theirs = all_rows(aside, table.shape(record.suffix))
        async for key, one, other in side_by_side(ours, theirs):
            rows += 1
            count += one != other
            if one != other and len(differences) < REPORTED:
                differences.append(difference(table, key, one, other))
    return Verification(
        name=projection.name,
        version=projection.version,
        position=live.position,
        rows=rows,
        count=count,
        differences=tuple(differences),
    )


async def live_in(snapshot: Snapshot, projection: Projection) -> Record:
    rows = await snapshot.fetch(
        f"SELECT {COLUMNS} FROM kasal_projections "  # noqa: S608 - our own names
        "WHERE role = 'live' AND name = :name AND version = :version",
        {"name": projection.name, "version": projection.version},
    )
    if not rows:
        raise NotFound(f"{projection.name} has no live tables of version {projection.version}")
    return Record(*rows[0])


def drop_older(session: Session, name: str) -> None:
    """What a verification, this one or one that was killed, has left."""
    set_up(session)
    for record in records(session, name):
        if record.role == "verifying":
            drop(session, record)


async def all_rows(snapshot: Snapshot, shape: Shape) -> AsyncIterator[tuple[tuple[Any, ...], Row]]:
    """Every row with its key before it, in the order of the keys."""
    columns, key = ", ".join(shape.columns), ", ".join(shape.key)
    select = f"SELECT {key}, {columns} FROM {shape.name}"  # noqa: S608 - our own names
    places = ", ".join(f":{column}" for column in shape.key)
    after, parameters = "", dict[str, Any]()
    while True:
        page = await snapshot.fetch(f"{select}{after} ORDER BY {key} LIMIT {PAGE}", parameters)
        for row in page:
            yield row[: len(shape.key)], row[len(shape.key) :]
        if len(page) < PAGE:
            return
        after = f" WHERE ({key}) > ({places})"
        parameters = dict(zip(shape.key, page[-1][: len(shape.key)], strict=True))


async def side_by_side(
    ours: AsyncIterator[tuple[tuple[Any, ...], Row]], theirs: AsyncIterator[tuple[tuple[Any, ...], Row]]
) -> AsyncIterator[tuple[tuple[Any, ...], Row | None, Row | None]]:
    """Each key that either side has, with the row of both sides."""
    one, other = await anext(ours, None), await anext(theirs, None)
    while one is not None or other is not None:
        key = min(side[0] for side in (one, other) if side is not None)
        mine = one[1] if one is not None and one[0] == key else None
        yours = other[1] if other is not None and other[0] == key else None
        yield key, mine, yours
        one = await anext(ours, None) if mine is not None else one
        other = await anext(theirs, None) if yours is not None else other


def difference(table: ReadTable[Any], key: tuple[Any, ...], one: Row | None, other: Row | None) -> Difference:
    return Difference(table.name, key, _text(table, one), _text(table, other))


def _text(table: ReadTable[Any], row: Row | None) -> str | None:
    if row is None:
        return None
    return msgspec.json.encode(dict(zip(table.columns, row, strict=True))).decode()
