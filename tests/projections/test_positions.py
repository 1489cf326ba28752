"""Reading your own writes: waiting for a projection, and telling how far it is."""

from __future__ import annotations

import asyncio

import pytest

from domain.errors import Invalid, NotCaughtUp
from projections import ALL, positions
from projections.database import ReadDatabase, open_read_database
from projections.execution_list import list_executions
from projections.positions import position_of, wait_for
from projections.projector import Projector
from tests.projections.databases import TWO, caught_up, opened, projecting, read_db, read_url
from tests.projections.fakes import HistoryFeed
from tests.projections.histories import definition, history_of, request

__all__ = ["read_db", "read_url"]

NAMES = ["execution_list", "workflow_list"]


async def test_a_write_is_seen_by_whoever_waits_for_it(read_db: ReadDatabase) -> None:
    history = history_of(1)
    feed = HistoryFeed(history)
    async with projecting(ALL, history, feed, read_db):
        for number in range(5):
            history.handle(request(f"mine{number}", definition()))
            feed.tell()
            await wait_for(read_db, NAMES, len(history.events), 30)
            page = await list_executions(read_db, "default", limit=1)
            assert f'"mine{number}"'.encode() in page.items_json


async def test_a_write_is_seen_from_another_process_too(read_url: str) -> None:
    history = history_of(1)
    async with opened(read_url) as writing, opened(read_url) as reading:
        waiting = [asyncio.create_task(wait_for(reading, [n], len(history.events), 30)) for n in NAMES * 20]
        await asyncio.sleep(0)
        await caught_up(writing, TWO, history)
        await asyncio.gather(*waiting)
        assert await position_of(reading, NAMES) == len(history.events)


async def test_waiting_has_an_end(read_db: ReadDatabase) -> None:
    history = history_of(1)
    await caught_up(read_db, TWO, history)
    with pytest.raises(NotCaughtUp) as late:
        await wait_for(read_db, NAMES, len(history.events) + 1, 0.05)
    assert late.value.retry_after_s == 1
    assert str(len(history.events) + 1) in str(late.value)


async def test_who_looks_sees_events_sooner(read_db: ReadDatabase, monkeypatch: pytest.MonkeyPatch) -> None:
    assert read_db.positions.gather_s() == positions.GATHER_UNSEEN_S
    await position_of(read_db, NAMES)
    assert read_db.positions.gather_s() == positions.GATHER_S
    monkeypatch.setattr(positions, "SEEN_FOR_S", 0)
    assert read_db.positions.gather_s() == positions.GATHER_UNSEEN_S


async def test_the_table_is_read_only_for_what_no_projector_here_tells_of(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(positions, "POLL_OWN_EVERY_S", 1.0)
    reads = 0

    async def fetch(_: str) -> list[tuple[str, int]]:
        nonlocal reads
        reads += 1
        return [("here", 0), ("elsewhere", 7)]

    known = positions.Positions(fetch)

    async def move() -> None:
        for position in range(1, 23):
            known.moved({"here": position})
            await asyncio.sleep(0.1)

    known.moved({"here": 0})
    moving = asyncio.create_task(move())
    await known.reach(["here"], 22, 30)
    assert reads == 0
    await known.reach(["elsewhere"], 7, 30)
    assert reads
    await moving
    await known.close()


async def test_a_projection_that_is_not_built_is_at_nothing(read_db: ReadDatabase) -> None:
    assert await position_of(read_db, NAMES) == 0
    with pytest.raises(NotCaughtUp):
        await wait_for(read_db, NAMES, 1, 0.02)
    with pytest.raises(NotCaughtUp):
        await list_executions(read_db, "default")


async def test_the_lowest_of_several_projections_is_told(read_db: ReadDatabase) -> None:
    history = history_of(1)
    await caught_up(read_db, TWO[:1], history)
    await caught_up(read_db, TWO[1:], history, to=20)
    assert await position_of(read_db, NAMES) == 20
    assert await position_of(read_db, NAMES[:1]) == len(history.events)


async def test_a_told_position_is_never_ahead_of_the_answer(read_db: ReadDatabase) -> None:
    history = history_of(1)
    builds = await caught_up(read_db, TWO, history, to=10)

    async def go_on() -> None:
        for recorded in history.events:
            await Projector(read_db, history).follow(builds, [recorded])

    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(go_on())
        while (told := await position_of(read_db, NAMES)) < len(history.events):
            page = await list_executions(read_db, "default", limit=200)
            expected = {e.entity_id for e in history.events[:told] if e.tag == "execution.requested"}
            assert all(f'"{execution}"'.encode() in page.items_json for execution in expected)


@pytest.mark.parametrize("url", ["", "sqlite:", "sqlite:///", "sqlite:///:memory:", "mysql://h/d", "memory:"])
async def test_other_urls_are_refused(url: str) -> None:
    with pytest.raises(Invalid):
        await open_read_database(url)
