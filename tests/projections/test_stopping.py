"""A projector that is stopped: its last write is whole or not there."""

from __future__ import annotations

import asyncio
import threading

from projections.database import ReadDatabase, Session
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
    half_written, go_on, loop = asyncio.Event(), threading.Event(), asyncio.get_running_loop()
    write = builds[0].rows.write

    def write_and_wait(session: Session) -> None:
        write(session)
        loop.call_soon_threadsafe(half_written.set)
        go_on.wait(10)

    builds[0].rows.write = write_and_wait  # type: ignore[method-assign]
    applying = asyncio.create_task(Projector(read_db, history).apply(builds, facts_of(history.events)))
    await half_written.wait()
    applying.cancel()
    for _ in range(10):
        await asyncio.sleep(0)
    go_on.set()
    await asyncio.wait([applying])
    assert applying.cancelled()
    await caught_up(read_db, TWO, history)
    assert await stored(read_db, TWO) == expected(TWO, history.events)
