"""A projector that is stopped: its last write is whole or not there."""

from __future__ import annotations

import asyncio
import threading

from projections.database import ReadDatabase
from projections.database.shape import Change
from projections.projection import facts_of
from projections.projector import Projector
from tests.projections.databases import TWO, builds_of, caught_up, read_db, read_url
from tests.projections.histories import history_of
from tests.projections.oracle import expected, stored

__all__ = ["read_db", "read_url"]


async def test_a_projector_that_is_stopped_in_the_middle_of_a_write_leaves_no_half_of_it(
    read_db: ReadDatabase,
) -> None:
    history = history_of(1)
    builds = await builds_of(read_db, TWO)
    in_the_middle, go_on, loop = asyncio.Event(), threading.Event(), asyncio.get_running_loop()
    changes = builds[0].rows.changes

    def wait_and_write() -> list[Change]:
        loop.call_soon_threadsafe(in_the_middle.set)
        go_on.wait(10)
        return changes()

    builds[0].rows.changes = wait_and_write  # type: ignore[method-assign]
    applying = asyncio.create_task(Projector(read_db, history).apply(builds, facts_of(history.events)))
    await in_the_middle.wait()
    applying.cancel()
    for _ in range(10):
        await asyncio.sleep(0)
    go_on.set()
    await asyncio.wait([applying])
    assert applying.cancelled()
    await caught_up(read_db, TWO, history)
    assert await stored(read_db, TWO) == expected(TWO, history.events)
