"""What was archived leaves every read model but the list of what was archived, on both databases."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import msgspec
import pytest

from domain.errors import Archived, NotFound
from domain.execution import ArchivedFile, ArchiveExecution, Status
from projections import ALL
from projections.approvals import list_approvals
from projections.database import ReadDatabase
from projections.execution_comparison import diff_executions
from projections.execution_detail import get_execution
from projections.execution_history import list_history
from projections.execution_list import list_executions
from projections.execution_states import diff_versions, get_state
from projections.execution_timeline import list_timeline
from projections.projector import Projector
from projections.usage import list_usage
from projections.verification import verify
from tests.projections.databases import builds_of, caught_up, read_db, read_url
from tests.projections.histories import START, History, history_of
from tests.projections.oracle import expected, stored

__all__ = ["read_db", "read_url"]

FILE = ArchivedFile("2026-11/e.ndjson", "c" * 64, 1_000)
EXECUTION_TABLES = (
    "execution_list",
    "execution_detail",
    "execution_detail_pinned",
    "execution_history",
    "execution_timeline",
    "execution_timeline_runs",
    "approvals",
    "approvals_asking",
    "usage_running",
    "due_waits",
)

QUERIES: dict[str, Callable[[ReadDatabase, str], Awaitable[Any]]] = {
    "detail": lambda db, id: get_execution(db, "default", id),
    "history": lambda db, id: list_history(db, "default", id),
    "timeline": lambda db, id: list_timeline(db, "default", id),
    "state": lambda db, id: get_state(db, "default", id),
    "state at a version": lambda db, id: get_state(db, "default", id, version=2),
    "state at a time": lambda db, id: get_state(db, "default", id, at=START),
    "versions": lambda db, id: diff_versions(db, "default", id, 0, None),
    "executions": lambda db, id: diff_executions(db, "default", id, id, limit=5),
}


def ended(history: History) -> list[str]:
    """The executions that have, oldest first."""
    streams = dict.fromkeys(each.stream for each in history.events if each.category == "execution")
    return [name.partition("-")[2] for name in streams if not history.state(name).is_open]


def archive(history: History, execution_id: str, *files: ArchivedFile) -> None:
    place = "/srv/archive" if files else ""
    history.handle(ArchiveExecution(execution_id=execution_id, place=place, files=files))


def archived_history() -> tuple[History, list[str], list[str]]:
    """Executions, some of which were dropped, and some of those written to files later."""
    history = history_of(7, executions=12)
    those = ended(history)[:6]
    written, dropped = those[:3], those[3:]
    for execution_id in those:
        archive(history, execution_id, *((FILE,) if execution_id in written[1:] else ()))
    archive(history, those[0], FILE)
    return history, written, dropped


@pytest.mark.parametrize("batch", [1, 7, 10_000])
async def test_the_tables_are_those_of_the_log_however_it_is_cut(read_db: ReadDatabase, batch: int) -> None:
    history, written, dropped = archived_history()
    builds = await builds_of(read_db, ALL)
    end = len(history.events)
    begin = end - 40
    for to in [*range(begin, end, batch), end] if batch < end else [end]:
        await Projector(read_db, history).catch_up(builds, to)
    assert await stored(read_db, ALL) == expected(ALL, history.events)
    for projection in ALL:
        answer = await verify(projection, read_db, history)
        assert answer.is_equal, answer.differences
    for table in EXECUTION_TABLES:
        left = {row[0] for row in await read_db.fetch(f"SELECT execution_id FROM {table}")}
        assert left.isdisjoint([*written, *dropped]), table


async def test_a_query_says_where_it_went(read_db: ReadDatabase) -> None:
    history, written, dropped = archived_history()
    await caught_up(read_db, ALL, history)
    for ask in QUERIES.values():
        with pytest.raises(Archived, match=f"/srv/archive: 2026-11/e.ndjson .SHA-256 {'c' * 64}"):
            await ask(read_db, written[0])
        with pytest.raises(Archived, match="the log alone has it"):
            await ask(read_db, dropped[0])
        with pytest.raises(NotFound, match=r"there (is|was) no execution 'nobody'"):
            await ask(read_db, "nobody")
    assert (await list_approvals(read_db, "default", execution_id=written[0])).items_json == b"[]"


async def test_what_was_archived_has_a_list_of_its_own_and_its_usage_stays(read_db: ReadDatabase) -> None:
    history = history_of(7, executions=12)
    builds = await caught_up(read_db, ALL, history)
    usage = (await list_usage(read_db, "default", limit=200)).items_json
    before = await listed(read_db)
    those = ended(history)
    for execution_id in those:
        archive(history, execution_id, FILE)
    await Projector(read_db, history).catch_up(builds, len(history.events))
    assert (await list_usage(read_db, "default", limit=200)).items_json == usage
    assert {item["id"] for item in await listed(read_db)}.isdisjoint(those)
    gone = await listed(read_db, archived=True)
    assert {item["id"] for item in gone} == set(those)
    kept = {item["id"]: item for item in before}
    moved = ("archive", "version", "position")
    for item in gone:
        assert item["archive"]["files"] == [msgspec.to_builtins(FILE)]
        same = {name: value for name, value in kept[item["id"]].items() if name not in moved}
        assert {name: value for name, value in item.items() if name not in moved} == same
    failed = await listed(read_db, archived=True, status=[Status.FAILED])
    assert {item["status"] for item in failed} <= {"FAILED"}


async def test_the_list_is_narrowed_by_the_time_of_the_end(read_db: ReadDatabase) -> None:
    history = history_of(7, executions=12)
    await caught_up(read_db, ALL, history)
    everything = await listed(read_db)
    ends = sorted(item["ended_at"] for item in everything if item["ended_at"])
    moment = history.events[-1].metadata.at.fromisoformat(ends[len(ends) // 2])
    found = {item["id"] for item in await listed(read_db, ended_before=moment)}
    assert found == {i["id"] for i in everything if i["ended_at"] and i["ended_at"] < ends[len(ends) // 2]}


async def listed(read_db: ReadDatabase, **filters: Any) -> list[dict[str, Any]]:
    page = await list_executions(read_db, "default", limit=200, **filters)
    found: list[dict[str, Any]] = msgspec.json.decode(page.items_json)
    return found
