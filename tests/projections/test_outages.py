"""The read database goes away and comes back: queries say so, projectors wait, nothing is lost."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Iterator
from pathlib import Path

import pytest

from domain.errors import Unavailable
from projections.database import ReadDatabase
from projections.execution_list import list_executions
from projections.positions import position_of, wait_for
from tests.projections.databases import TWO, lag_is_zero, opened, projecting
from tests.projections.fakes import HistoryFeed
from tests.projections.histories import definition, history_of, request
from tests.projections.oracle import expected, stored
from tests.servers import PostgresServer
from tests.waiting import eventually


@pytest.fixture
def server() -> Iterator[PostgresServer]:
    server = PostgresServer()
    yield server
    server.remove()


@pytest.mark.parametrize("mode", ["fast", "immediate"])
async def test_postgresql_restarts_under_a_projector_and_its_readers(
    server: PostgresServer, mode: str
) -> None:
    history = history_of(1)
    feed = HistoryFeed(history)
    async with opened(server.url) as read_db, projecting(TWO, history, feed, read_db):
        await eventually(lambda: lag_is_zero(read_db, history))
        await asyncio.to_thread(server.stop, mode)
        history.handle(request("meanwhile", definition()))
        feed.tell()
        for question in (list_executions(read_db, "default"), position_of(read_db, ["execution_list"])):
            with pytest.raises(Unavailable):
                await question
        await asyncio.to_thread(server.start)
        await wait_for(read_db, ["execution_list", "workflow_list"], len(history.events), 30)
        assert await stored(read_db, TWO) == expected(TWO, history.events)


async def test_a_projector_starts_before_its_database(server: PostgresServer) -> None:
    history = history_of(1)
    await asyncio.to_thread(server.stop)
    async with opened(server.url) as read_db, projecting(TWO, history, HistoryFeed(history), read_db):
        with pytest.raises(Unavailable):
            await list_executions(read_db, "default")
        await asyncio.to_thread(server.start)
        await eventually(lambda: has_caught_up(read_db, len(history.events)))
        assert await stored(read_db, TWO) == expected(TWO, history.events)


async def has_caught_up(read_db: ReadDatabase, position: int) -> bool:
    try:
        return await position_of(read_db, ["execution_list", "workflow_list"]) == position
    except Unavailable:
        return False


async def test_a_sqlite_file_that_another_process_holds_is_waited_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("projections.database.sqlite.BUSY_TIMEOUT_S", 0.02)
    history = history_of(1)
    feed = HistoryFeed(history)
    path = tmp_path / "read.db"
    async with opened(f"sqlite:///{path}") as read_db, projecting(TWO, history, feed, read_db):
        await eventually(lambda: has_caught_up(read_db, len(history.events)))
        holder = sqlite3.connect(path, isolation_level=None)
        holder.execute("BEGIN IMMEDIATE")
        history.handle(request("meanwhile", definition()))
        feed.tell()
        await asyncio.sleep(0.1)
        assert b"meanwhile" not in (await list_executions(read_db, "default")).items_json
        holder.execute("COMMIT")
        holder.close()
        await wait_for(read_db, ["execution_list"], len(history.events), 30)
        assert await stored(read_db, TWO) == expected(TWO, history.events)


async def test_a_folder_that_can_not_be_written_is_unavailable(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("not a folder")
    async with opened(f"sqlite:///{tmp_path / 'file' / 'read.db'}") as read_db:
        with pytest.raises(Unavailable):
            await list_executions(read_db, "default")
