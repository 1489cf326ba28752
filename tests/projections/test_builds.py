"""New versions, rebuilds and verification: queries see one whole build, and the right one."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from typing import TypeVar

import pytest

from projections import ALL
from projections.building import create_aside
from projections.database import ReadDatabase, Session
from projections.execution_list import EXECUTION_LIST
from projections.operations import list_projections, rebuild
from projections.projection import Projection
from projections.projector import Projector
from projections.verification import verify
from projections.workflow_list import WORKFLOW_LIST
from tests.projections.databases import (
    TWO,
    builds_of,
    caught_up,
    lag_is_zero,
    opened,
    projecting,
    read_db,
    read_url,
)
from tests.projections.fakes import HistoryFeed
from tests.projections.histories import History, definition, history_of, request
from tests.projections.oracle import expected, stored
from tests.waiting import eventually

__all__ = ["read_db", "read_url"]

T = TypeVar("T")


def second_version(projection: Projection) -> Projection:
    return Projection(
        projection.name, projection.version + 1, projection.tables, projection.fold, projection.categories
    )


async def test_a_new_version_is_built_beside_the_old_and_takes_its_place(read_db: ReadDatabase) -> None:
    history = history_of(1)
    await caught_up(read_db, TWO, history)
    new = (second_version(EXECUTION_LIST), WORKFLOW_LIST)
    async with projecting(new, history, HistoryFeed(history), read_db):
        await eventually(lambda: has_version(read_db, history, new[0].version))
        history.handle(request("late", definition()))
        await eventually(lambda: lag_is_zero(read_db, history))
    assert await stored(read_db, new) == expected(new, history.events)
    assert [s.name for s in await list_projections(read_db, history)] == ["execution_list", "workflow_list"]


async def has_version(read_db: ReadDatabase, history: History, version: int) -> bool:
    statuses = await list_projections(read_db, history)
    return [s.version for s in statuses if s.name == "execution_list"] == [version]


async def test_an_older_release_leaves_newer_tables_alone(read_db: ReadDatabase) -> None:
    history = history_of(1)
    await caught_up(read_db, [second_version(EXECUTION_LIST)], history)
    assert await builds_of(read_db, [EXECUTION_LIST]) == []


async def test_a_build_that_a_crash_left_is_finished_by_the_next_projector(read_db: ReadDatabase) -> None:
    history = history_of(1)
    await caught_up(read_db, TWO, history)
    build = await read_db.write(partial(create_aside, projection=EXECUTION_LIST, role="building"))
    await Projector(read_db, history).catch_up([build], 30)
    async with projecting(TWO, history, HistoryFeed(history), read_db):
        await eventually(lambda: is_alone(read_db, build.record.tables))
    assert await stored(read_db, TWO) == expected(TWO, history.events)


async def is_alone(read_db: ReadDatabase, tables: str) -> bool:
    found = await read_db.fetch("SELECT tables FROM kasal_projections WHERE name = 'execution_list'")
    return found == [(tables,)]


async def test_queries_never_stop_while_tables_are_rebuilt(read_db: ReadDatabase) -> None:
    history = history_of(4, executions=40)
    await caught_up(read_db, TWO, history)
    whole = await read_db.fetch("SELECT count(*) FROM execution_list")
    rebuilding = asyncio.create_task(rebuild_thrice(read_db, history))
    answers = 0
    while not rebuilding.done():
        assert await read_db.fetch("SELECT count(*) FROM execution_list") == whole
        answers += 1
    await rebuilding
    assert answers > 3
    assert await stored(read_db, TWO) == expected(TWO, history.events)


async def rebuild_thrice(read_db: ReadDatabase, history: History) -> None:
    for _ in range(3):
        await rebuild(EXECUTION_LIST, read_db, history)


async def test_a_rebuild_beside_a_running_projector_loses_nothing(read_url: str) -> None:
    history = history_of(4)
    feed = HistoryFeed(history)
    async with opened(read_url) as read_db, opened(read_url) as administrator:
        async with projecting(TWO, history, feed, read_db):
            await eventually(lambda: lag_is_zero(read_db, history))
            rebuilding = asyncio.create_task(rebuild_thrice(administrator, history))
            for number in range(30):
                history.handle(request(f"more{number}", definition()))
                feed.tell()
                await asyncio.sleep(0.005)
            await rebuilding
            await eventually(lambda: lag_is_zero(read_db, history))
        assert await stored(read_db, TWO) == expected(TWO, history.events)


async def test_verify_proves_equality_and_leaves_no_tables(read_db: ReadDatabase) -> None:
    history = history_of(1)
    await caught_up(read_db, ALL, history)
    for projection in ALL:
        answer = await verify(projection, read_db, history)
        assert answer.is_equal, answer.differences
        assert answer.position == len(history.events)
    assert len(await list_projections(read_db, history)) == len(ALL)


async def test_verify_finds_each_row_that_was_tampered_with(read_db: ReadDatabase) -> None:
    history = history_of(1)
    await caught_up(read_db, TWO, history)

    def tamper(session: Session) -> None:
        table = f"execution_list_v{EXECUTION_LIST.version}"
        session.execute(f"UPDATE {table} SET status = 'LOST' WHERE execution_id = 'e00002'")
        session.execute(f"DELETE FROM {table} WHERE execution_id = 'e00003'")

    await read_db.write(tamper)
    answer = await verify(EXECUTION_LIST, read_db, history)
    assert [difference.key for difference in answer.differences] == [("e00002",), ("e00003",)]
    assert answer.differences[1].is_now is None
    await rebuild(EXECUTION_LIST, read_db, history)
    assert (await verify(EXECUTION_LIST, read_db, history)).is_equal


async def test_verify_compares_at_one_position_while_the_log_grows(read_db: ReadDatabase) -> None:
    history = history_of(1)
    feed = HistoryFeed(history)
    async with projecting(TWO, history, feed, read_db):
        await eventually(lambda: lag_is_zero(read_db, history))
        verifying = asyncio.create_task(verify(EXECUTION_LIST, read_db, history))
        while not verifying.done():
            history.handle(request(f"more{len(history.events)}", definition()))
            feed.tell()
            await asyncio.sleep(0.001)
        assert (await verifying).is_equal


async def test_a_projection_that_is_new_catches_up_beside_the_others(
    read_db: ReadDatabase, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("projections.engine.FAR_BEHIND", 10)
    history = history_of(1)
    await caught_up(read_db, [WORKFLOW_LIST], history)
    feed = HistoryFeed(history)
    async with projecting(ALL, history, feed, read_db):
        await eventually(lambda: lag_is_zero(read_db, history))
        history.handle(request("late", definition()))
        feed.tell()
        await eventually(lambda: lag_is_zero(read_db, history))
    assert await stored(read_db, ALL) == expected(ALL, history.events)


class Killed(BaseException):
    """The process ends here."""


@pytest.mark.parametrize("moment", ["before", "after"])
async def test_a_rebuild_killed_at_any_transaction_is_finished_later(
    read_db: ReadDatabase, monkeypatch: pytest.MonkeyPatch, moment: str
) -> None:
    history = history_of(1)
    monkeypatch.setattr("projections.projector.BACKGROUND_PAGE", 100)
    await caught_up(read_db, TWO, history)
    for number in range(1, 9):
        with suppress(Killed):
            await rebuild(EXECUTION_LIST, Dying(read_db, number, moment), history)
        assert (await stored(read_db, TWO)) == expected(TWO, history.events)
        async with projecting(TWO, history, HistoryFeed(history), read_db):
            await eventually(lambda: has_one_build(read_db, history))
        assert (await stored(read_db, TWO)) == expected(TWO, history.events)


async def has_one_build(read_db: ReadDatabase, history: History) -> bool:
    return len(await list_projections(read_db, history)) == len(TWO)


class Dying:
    """A read database whose process dies at its nth transaction: before it, or after its commit."""

    def __init__(self, read_db: ReadDatabase, number: int, moment: str) -> None:
        self._read_db = read_db
        self._left = number
        self._moment = moment
        self.positions = read_db.positions
        self.fetch = read_db.fetch
        self.snapshot = read_db.snapshot
        self.close = read_db.close
        self.forget_old_pages = read_db.forget_old_pages

    async def write(self, work: Callable[[Session], T], *, background: bool = False) -> T:
        self._left -= 1
        if self._left == 0 and self._moment == "before":
            raise Killed
        answer = await self._read_db.write(work, background=background)
        if self._left == 0:
            raise Killed
        return answer
