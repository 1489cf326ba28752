"""The contract of the projection engine, on both databases: whatever happens, the read tables are the fold of
the log.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager, suppress
from functools import partial
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from domain.message import Event, Recorded
from domain.registry import EVENT_TYPES
from projections import ALL, bookkeeping
from projections.advance import Build, Fenced, advance
from projections.building import BuildStopped, create_aside, prepare
from projections.database import ReadDatabase, Session, open_read_database
from projections.engine import Feed, project
from projections.execution_list import EXECUTION_LIST
from projections.operations import list_projections, rebuild, retry
from projections.projection import Fact, Projection, Rows, facts_of
from projections.projector import FeedAhead, Projector
from projections.verification import verify
from projections.workflow_list import WORKFLOW_LIST
from tests.projections.fakes import BrokenFeed, HistoryFeed, QuietFeed
from tests.projections.histories import History, definition, history_of, request
from tests.projections.oracle import expected, stored
from tests.servers import postgres_database
from tests.waiting import eventually

TWO = (EXECUTION_LIST, WORKFLOW_LIST)


@pytest.fixture(params=["sqlite", "postgresql"])
def read_url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """Where read tables can be made, on either database."""
    if request.param == "sqlite":
        yield f"sqlite:///{tmp_path / 'read.db'}"
        return
    with postgres_database(request.getfixturevalue("postgres_server_url")) as url:
        yield url


@pytest.fixture
async def read_db(read_url: str) -> AsyncIterator[ReadDatabase]:
    async with opened(read_url) as read_db:
        yield read_db


@asynccontextmanager
async def opened(url: str) -> AsyncIterator[ReadDatabase]:
    read_db = await open_read_database(url)
    try:
        yield read_db
    finally:
        await read_db.close()


@asynccontextmanager
async def projecting(
    projections: Sequence[Projection], history: History, feed: Feed, read_db: ReadDatabase
) -> AsyncIterator[None]:
    """A projector beside the test."""
    task = asyncio.create_task(project(projections, history, feed, read_db))
    try:
        yield
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task


async def builds_of(read_db: ReadDatabase, projections: Sequence[Projection]) -> list[Build]:
    return await read_db.write(partial(prepare, projections=projections))


async def caught_up(
    read_db: ReadDatabase, projections: Sequence[Projection], history: History, to: int | None = None
) -> list[Build]:
    """Builds that hold a history, or its beginning."""
    builds = await builds_of(read_db, projections)
    target = len(history.events) if to is None else to
    await Projector(read_db, history).catch_up(builds, target)
    return builds


async def lag(read_db: ReadDatabase, history: History) -> int:
    lags = [status.lag for status in await list_projections(read_db, history)]
    return max(lags, default=len(history.events))


async def statuses(read_db: ReadDatabase, history: History) -> dict[str, str]:
    return {status.name: status.status for status in await list_projections(read_db, history)}


# --- the same rows


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
        advance(session, builds, facts)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        await read_db.write(crash)
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


# --- the feed


async def test_a_gap_in_the_feed_is_read_from_the_log(read_db: ReadDatabase) -> None:
    history = history_of(2)
    feed = HistoryFeed(history, limit=7, lost=[10, 11, 12, 30])
    async with projecting(ALL, history, feed, read_db):
        await eventually(lambda: lag_is_zero(read_db, history))
    assert await stored(read_db, ALL) == expected(ALL, history.events)


async def lag_is_zero(read_db: ReadDatabase, history: History) -> bool:
    return await lag(read_db, history) == 0


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


# --- new versions, rebuild, verify


def second_version(projection: Projection) -> Projection:
    return Projection(
        projection.name, projection.version + 1, projection.tables, projection.fold, projection.categories
    )


async def test_a_new_version_is_built_beside_the_old_and_takes_its_place(read_db: ReadDatabase) -> None:
    history = history_of(1)
    await caught_up(read_db, TWO, history)
    new = (second_version(EXECUTION_LIST), WORKFLOW_LIST)
    async with projecting(new, history, HistoryFeed(history), read_db):
        await eventually(lambda: has_version(read_db, history, 2))
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
        session.execute("UPDATE execution_list_v1 SET status = 'LOST' WHERE execution_id = 'e00002'")
        session.execute("DELETE FROM execution_list_v1 WHERE execution_id = 'e00003'")

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


# --- what can not be folded


class Fragile:
    """A fold that fails on chosen events, until it is mended."""

    def __init__(self, projection: Projection, poisonous: Sequence[int]) -> None:
        self._fold = projection.fold
        self.poisonous = set(poisonous)
        self.projection = Projection(
            projection.name, projection.version, projection.tables, self.fold, projection.categories
        )

    def fold(self, rows: Rows, fact: Fact) -> None:
        self._fold(rows, fact)
        if fact.position in self.poisonous:
            raise ZeroDivisionError("poison")


def poisoned(history: History) -> tuple[str, list[Recorded], int]:
    """A stream, its events, and the position of its third."""
    stream = next(e.stream for e in history.events if e.category == "execution")
    events = [e for e in history.events if e.stream == stream]
    return stream, events, events[2].position


async def test_a_poison_event_is_parked_with_its_stream_and_the_others_go_on(
    read_db: ReadDatabase, caplog: pytest.LogCaptureFixture
) -> None:
    history = history_of(1)
    stream, events, position = poisoned(history)
    fragile = Fragile(EXECUTION_LIST, [position])
    await caught_up(read_db, [fragile.projection, WORKFLOW_LIST], history)
    parked = events[2:]
    rest = [e for e in history.events if e not in parked]
    assert await stored(read_db, TWO) == expected(TWO, rest)
    status = (await list_projections(read_db, history))[0]
    assert (status.status, status.lag, status.parked) == ("live", 0, len(parked))
    alarm = next(record for record in caplog.records if record.levelno == logging.ERROR)
    assert (alarm.message, vars(alarm)["stream"]) == ("event parked", stream)


async def test_retry_folds_a_mended_stream_in_order_under_a_running_projector(read_url: str) -> None:
    history = history_of(1)
    _, _, position = poisoned(history)
    fragile = Fragile(EXECUTION_LIST, [position])
    feed = HistoryFeed(history)
    async with opened(read_url) as read_db, opened(read_url) as administrator:
        async with projecting([fragile.projection, WORKFLOW_LIST], history, feed, read_db):
            await eventually(lambda: lag_is_zero(read_db, history))
            fragile.poisonous.clear()
            retried = await retry(fragile.projection, administrator)
            assert (retried.folded > 1, retried.parked) == (True, 0)
            history.handle(request("late", definition()))
            feed.tell()
            await eventually(lambda: lag_is_zero(read_db, history))
        assert await stored(read_db, TWO) == expected(TWO, history.events)


async def test_retry_of_what_still_fails_leaves_it_parked(read_db: ReadDatabase) -> None:
    history = history_of(1)
    _, events, position = poisoned(history)
    fragile = Fragile(EXECUTION_LIST, [position])
    await caught_up(read_db, [fragile.projection, WORKFLOW_LIST], history)
    before = await stored(read_db, TWO)
    retried = await retry(fragile.projection, read_db)
    assert (retried.folded, retried.parked) == (0, len(events) - 2)
    assert await stored(read_db, TWO) == before


@pytest.mark.parametrize("value", [2**63, 2**70, object()], ids=["too_large", "far_too_large", "no_json"])
async def test_a_value_that_no_table_can_hold_is_parked_too(read_db: ReadDatabase, value: object) -> None:
    history = history_of(1)

    def overflow(rows: Rows, fact: Fact) -> None:
        WORKFLOW_LIST.fold(rows, fact)
        if fact.entity_id == "old":
            rows.change(WORKFLOW_LIST.tables[0], "old").is_archived = value

    breaking = Projection("workflow_list", 1, WORKFLOW_LIST.tables, overflow, ("workflow",))
    await caught_up(read_db, [EXECUTION_LIST, breaking], history)
    statuses = await list_projections(read_db, history)
    assert [(status.lag, status.parked) for status in statuses] == [(0, 0), (0, 2)]


async def test_an_unknown_event_stops_its_projections_and_no_others(read_db: ReadDatabase) -> None:
    history = history_of(1)
    before = list(history.events)
    unknown = history.append("execution-e00001", "execution.levitated", b"{}", version=999)
    history.handle(request("late", definition()))
    await caught_up(read_db, TWO, history)
    assert await statuses(read_db, history) == {"execution_list": "stopped", "workflow_list": "live"}
    stopped, live = await list_projections(read_db, history)
    assert (stopped.position, live.lag) == (unknown.position - 1, 0)
    assert "execution.levitated" in str(stopped.reason)
    assert (await stored(read_db, TWO))["execution_list"] == expected(TWO, before)["execution_list"]


async def test_a_release_that_knows_the_event_goes_on_where_the_other_stopped(
    read_db: ReadDatabase, monkeypatch: pytest.MonkeyPatch
) -> None:
    history = history_of(1)
    history.append("execution-e00001", "execution.levitated", b"{}", version=999)
    history.handle(request("late", definition()))
    await caught_up(read_db, TWO, history)
    monkeypatch.setitem(EVENT_TYPES, "execution.levitated", Event)
    async with projecting(TWO, history, HistoryFeed(history), read_db):
        await eventually(lambda: lag_is_zero(read_db, history))
    assert set((await statuses(read_db, history)).values()) == {"live"}


async def test_a_rebuild_that_meets_an_unknown_event_leaves_the_old_tables(read_db: ReadDatabase) -> None:
    history = history_of(1)
    await caught_up(read_db, TWO, history)
    before = await stored(read_db, TWO)
    history.append("execution-e00001", "execution.levitated", b"{}", version=999)
    with pytest.raises(BuildStopped, match="levitated"):
        await rebuild(EXECUTION_LIST, read_db, history)
    assert await stored(read_db, TWO) == before
