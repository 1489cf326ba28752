"""The contract of the projection engine, on both databases: whatever happens, the read tables are the fold of
the log.
"""

from __future__ import annotations

import asyncio
from contextlib import suppress
from functools import partial

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from projections import ALL, bookkeeping
from projections.advance import Fenced, advance
from projections.building import prepare
from projections.database import ReadDatabase, Session
from projections.engine import Feed
from projections.projection import facts_of
from projections.projector import FeedAhead, Projector
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
from tests.projections.fakes import BrokenFeed, HistoryFeed, QuietFeed
from tests.projections.histories import definition, history_of, request
from tests.projections.oracle import expected, stored
from tests.waiting import eventually

__all__ = ["read_db", "read_url"]


async def test_every_read_model_holds_the_fold_of_the_log(read_db: ReadDatabase) -> None:
    history = history_of(3, executions=25)
    await caught_up(read_db, ALL, history)
    assert await stored(read_db, ALL) == expected(ALL, history.events)


@given(data=st.data())
@settings(
    max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture], database=None
)
async def test_no_way_of_cutting_repeating_or_racing_makes_a_difference(
    read_url: str, data: st.DataObject
) -> None:
    history = history_of(data.draw(st.integers(0, 50), label="seed"), executions=6)
    total = len(history.events)
    cuts = sorted(data.draw(st.sets(st.integers(1, total), max_size=8), label="cuts") | {total})
    turns = data.draw(
        st.lists(st.tuples(st.sampled_from("ab"), st.integers(0, len(cuts) - 1), st.booleans()), max_size=12)
    )
    async with opened(read_url) as read_db:
        await forget_all(read_db)
        workers = {name: await builds_of(read_db, ALL) for name in "ab"}
        for worker, cut, restarts in [*turns, ("a", len(cuts) - 1, True)]:
            if restarts:
                workers[worker] = await builds_of(read_db, ALL)
            begin = cuts[cut - 1] if cut else 0
            with suppress(Fenced):
                await Projector(read_db, history).follow(workers[worker], history.events[begin : cuts[cut]])
        assert await stored(read_db, ALL) == expected(ALL, history.events)


async def forget_all(read_db: ReadDatabase) -> None:
    """Drop what an earlier example has left."""

    def drop_builds(session: Session) -> None:
        prepare(session, ALL)
        for record in bookkeeping.records(session):
            bookkeeping.drop(session, record)

    await read_db.write(drop_builds)


async def test_of_two_workers_with_the_same_batch_one_has_an_effect(read_db: ReadDatabase) -> None:
    history = history_of(1)
    first, second = await builds_of(read_db, TWO), await builds_of(read_db, TWO)
    facts = facts_of(history.events)
    results = await asyncio.gather(
        Projector(read_db, history).apply(first, facts),
        Projector(read_db, history, background=True).apply(second, facts),
        return_exceptions=True,
    )
    assert sorted(map(repr, results)) == ["Fenced()", "None"]
    assert await stored(read_db, TWO) == expected(TWO, history.events)


async def test_a_crash_between_fold_and_commit_leaves_nothing_behind(read_db: ReadDatabase) -> None:
    history = history_of(1)
    builds = await caught_up(read_db, TWO, history, to=20)
    facts = facts_of(history.events[20:])

    def crash(session: Session) -> None:
        session.lock(builds[0].record.id)
        advance(session, builds, facts)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        await read_db.write(crash)
    assert await stored(read_db, TWO) == expected(TWO, history.events[:20])
    await caught_up(read_db, TWO, history)
    assert await stored(read_db, TWO) == expected(TWO, history.events)


async def test_a_batch_that_is_fenced_off_leaves_nothing_behind(read_db: ReadDatabase) -> None:
    """Not even in the builds that nobody else has moved: it is one statement on PostgreSQL."""
    history = history_of(1)
    builds = await caught_up(read_db, TWO, history, to=20)
    last = builds[-1]
    last.record = msgspec.structs.replace(last.record, fence=last.record.fence + 1)
    with pytest.raises(Fenced):
        await read_db.write(partial(advance, builds=builds, facts=facts_of(history.events[20:])))
    assert await stored(read_db, TWO) == expected(TWO, history.events[:20])
    await caught_up(read_db, TWO, history)
    assert await stored(read_db, TWO) == expected(TWO, history.events)


async def test_rows_that_left_memory_are_read_again(
    read_db: ReadDatabase, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("projections.rows.REMEMBERED", 2)
    history = history_of(5, executions=20)
    builds = await builds_of(read_db, ALL)
    for start in range(0, len(history.events), 7):
        await Projector(read_db, history).follow(builds, history.events[start : start + 7])
    assert await stored(read_db, ALL) == expected(ALL, history.events)


async def test_a_gap_in_the_feed_is_read_from_the_log(read_db: ReadDatabase) -> None:
    history = history_of(2)
    feed = HistoryFeed(history, limit=7, lost=[10, 11, 12, 30])
    async with projecting(ALL, history, feed, read_db):
        await eventually(lambda: lag_is_zero(read_db, history))
    assert await stored(read_db, ALL) == expected(ALL, history.events)


async def test_events_that_the_log_does_not_have_are_refused(read_db: ReadDatabase) -> None:
    history = history_of(1)
    builds = await caught_up(read_db, TWO, history)
    beyond = history_of(2, executions=40).events[len(history.events) + 5 :]
    with pytest.raises(FeedAhead):
        await Projector(read_db, history).follow(builds, beyond[:3])


@pytest.mark.parametrize("feed", [QuietFeed(), BrokenFeed()])
async def test_while_the_feed_is_away_the_log_is_followed(read_db: ReadDatabase, feed: Feed) -> None:
    history = history_of(1)
    async with projecting(TWO, history, feed, read_db):
        await eventually(lambda: lag_is_zero(read_db, history))
        history.handle(request("late", definition()))
        await eventually(lambda: lag_is_zero(read_db, history))
    assert await stored(read_db, TWO) == expected(TWO, history.events)


async def test_two_projectors_share_the_work_and_either_can_do_it_alone(read_url: str) -> None:
    history = history_of(1)
    feeds = [HistoryFeed(history, limit=5), HistoryFeed(history, limit=3)]
    async with opened(read_url) as one, opened(read_url) as other:
        async with projecting(ALL, history, feeds[1], other):
            async with projecting(ALL, history, feeds[0], one):
                await eventually(lambda: lag_is_zero(one, history))
                for number in range(20):
                    history.handle(request(f"more{number}", definition()))
                    for feed in feeds:
                        feed.tell()
                    await asyncio.sleep(0)
                await eventually(lambda: lag_is_zero(one, history))
            history.handle(request("last", definition()))
            feeds[1].tell()
            await eventually(lambda: lag_is_zero(one, history))
        assert await stored(one, ALL) == expected(ALL, history.events)
