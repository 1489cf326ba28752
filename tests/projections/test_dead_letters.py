"""What can not be folded: poison is parked with its stream, an unknown event stops, all else goes on."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from structlog.testing import capture_logs

from domain.message import Event, Recorded
from domain.registry import EVENT_TYPES
from projections.building import BuildStopped
from projections.database import ReadDatabase
from projections.execution_list import EXECUTION_LIST
from projections.operations import list_projections, rebuild, retry
from projections.projection import Fact, Projection, Rows
from projections.workflow_list import WORKFLOW_LIST
from tests.projections.databases import (
    TWO,
    caught_up,
    lag_is_zero,
    opened,
    projecting,
    read_db,
    read_url,
    statuses,
)
from tests.projections.fakes import HistoryFeed
from tests.projections.histories import History, definition, history_of, request
from tests.projections.oracle import expected, stored
from tests.waiting import eventually

__all__ = ["read_db", "read_url"]


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


async def test_a_poison_event_is_parked_with_its_stream_and_the_others_go_on(read_db: ReadDatabase) -> None:
    history = history_of(1)
    stream, events, position = poisoned(history)
    fragile = Fragile(EXECUTION_LIST, [position])
    with capture_logs() as logged:
        await caught_up(read_db, [fragile.projection, WORKFLOW_LIST], history)
    parked = events[2:]
    rest = [e for e in history.events if e not in parked]
    assert await stored(read_db, TWO) == expected(TWO, rest)
    status = (await list_projections(read_db, history))[0]
    assert (status.status, status.lag, status.parked) == ("live", 0, len(parked))
    alarm = next(line for line in logged if line["log_level"] == "error")
    assert (alarm["event"], alarm["stream"], alarm["error"]) == ("event parked", stream, "ZeroDivisionError")


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
