"""Read models after an erasure: nothing of the contents is left, and a rebuild gives the same rows."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from domain.execution import EraseExecution
from domain.message import Recorded
from projections import ALL
from projections.database import ReadDatabase
from projections.execution_detail import EXECUTION_DETAIL
from projections.verification import verify
from tests.projections.databases import builds_of, caught_up, projecting, read_db, read_url
from tests.projections.fakes import HistoryFeed
from tests.projections.histories import History, history_of
from tests.projections.oracle import expected, stored
from tests.waiting import eventually

__all__ = ["read_db", "read_url"]

ENDS = ("execution.completed", "execution.failed", "execution.cancelled", "execution.timed_out")


def ended(history: History) -> list[str]:
    """The executions that have ended, for good."""
    last = {event.entity_id: event.tag for event in history.events if event.category == "execution"}
    return [execution_id for execution_id, tag in last.items() if tag in ENDS]


@pytest.mark.parametrize("seed", [1, 2])
async def test_erased_executions_leave_the_rows_that_a_rebuild_gives(
    read_db: ReadDatabase, seed: int
) -> None:
    history = history_of(seed, executions=12)
    await caught_up(read_db, ALL, history)
    gone = ended(history)[::2]
    assert gone
    for execution_id in gone:
        history.handle(EraseExecution(execution_id=execution_id, reason="asked for it"))
    await caught_up(read_db, ALL, history)
    assert await stored(read_db, ALL) == expected(ALL, await history.read_all(0, 100_000))
    for projection in ALL:
        assert (await verify(projection, read_db, history)).is_equal, projection.name


async def test_an_erasure_during_a_verification_is_no_difference(read_db: ReadDatabase) -> None:
    history = history_of(5, executions=6)
    await caught_up(read_db, ALL, history)
    folded = len(history.events)
    history.handle(EraseExecution(execution_id=ended(history)[0]))

    class Late(History):
        """The log, which the live tables have heard of by the time that somebody asks for what is new."""

        async def read_all(self, after_position: int, limit: int) -> Sequence[Recorded]:
            if after_position >= folded:
                await caught_up(read_db, ALL, history)
            return await history.read_all(after_position, limit)

    late = Late()
    late.events = history.events
    assert (await verify(EXECUTION_DETAIL, read_db, late)).is_equal


async def test_what_is_erased_in_the_batch_it_came_in_is_not_folded_twice(read_db: ReadDatabase) -> None:
    history = history_of(3, executions=6)
    for execution_id in ended(history):
        history.handle(EraseExecution(execution_id=execution_id))
    async with projecting(ALL, history, HistoryFeed(history), read_db):
        target = len(history.events)

        async def is_there() -> bool:
            return all(build.position == target for build in await builds_of(read_db, ALL))

        await eventually(is_there)
    assert await stored(read_db, ALL) == expected(ALL, await history.read_all(0, 100_000))


async def test_no_row_of_an_erased_execution_says_what_was_said(read_db: ReadDatabase) -> None:
    history = history_of(4, executions=6)
    gone = ended(history)[0]
    said = next(event for event in history.events if event.entity_id == gone)
    assert b"backstory" in said.body
    await caught_up(read_db, ALL, history)
    history.handle(EraseExecution(execution_id=gone))
    await caught_up(read_db, ALL, history)
    tables = await stored(read_db, ALL)
    left = [str(row) for rows in tables.values() for row in rows if row[0] == gone]
    assert left
    for word in ("Ten years", "shipping"):
        assert not [row for row in left if word in row]
