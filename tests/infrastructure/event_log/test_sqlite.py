"""What is particular to the log in a SQLite file."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import AsyncIterator
from contextlib import closing

import pytest

from application.ports import Appended, EventLog
from domain.errors import LogUnavailable
from infrastructure.event_log import appender, sqlite_connections
from infrastructure.event_log.opening import open_event_log
from infrastructure.event_log.schema import migrate
from infrastructure.event_log.urls import sqlite_path
from tests.contracts.event_log_commands import a_command
from tests.infrastructure.event_log.proof import appended, assert_one_effect


@pytest.fixture
def url(sqlite_url: str) -> str:
    migrate(sqlite_url)
    return sqlite_url


@pytest.fixture
async def log(url: str) -> AsyncIterator[EventLog]:
    log = await open_event_log(url)
    yield log
    await log.close()


async def test_commits_are_durable(log: EventLog, url: str) -> None:
    await log.append(a_command("order-1"))
    with closing(sqlite_connections.connect(sqlite_path(url))) as connection:
        assert connection.execute("PRAGMA journal_mode").fetchone() == ("wal",)
        assert connection.execute("PRAGMA synchronous").fetchone() == (2,)


async def test_two_logs_on_one_file_share_it(log: EventLog, url: str) -> None:
    other = await open_event_log(url)
    mine, theirs = await asyncio.gather(
        appended(log, [a_command(f"order-{n}") for n in range(50)]),
        appended(other, [a_command(f"order-{n}") for n in range(50)]),
    )
    kinds = [isinstance(answer, Appended) for answer in (*mine.values(), *theirs.values())]
    assert sum(kinds) == 50
    await assert_one_effect(log, mine | theirs)
    await other.close()


async def test_what_another_process_appends_wakes_who_waits(log: EventLog, url: str) -> None:
    other = await open_event_log(url)
    waiting = asyncio.ensure_future(log.wait_beyond(0, timeout_s=90))
    await other.append(a_command("order-1"))
    async with asyncio.timeout(30):
        await waiting
    await other.close()


async def test_a_file_that_stays_locked_is_unavailable_and_nothing_is_stored(
    url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sqlite_connections, "BUSY_TIMEOUT_S", 0.1)
    monkeypatch.setattr(appender, "SETTLE_WITHIN_S", 0.3)
    log = await open_event_log(url)
    with closing(sqlite3.connect(sqlite_path(url), isolation_level=None)) as connection:
        connection.execute("BEGIN IMMEDIATE")
        answers = await appended(log, [a_command(f"order-{n}") for n in range(50)])
        assert {str(answer) for answer in answers.values()} == {
            "the event log can not be reached: database is locked"
        }
    assert await log.append(a_command("order-1")) == Appended(1, 1)
    await log.close()


async def test_a_file_that_is_not_there_says_what_to_do(sqlite_url: str) -> None:
    with pytest.raises(LogUnavailable, match="kasal migrate"):
        await open_event_log(sqlite_url)
    assert not sqlite_path(sqlite_url).exists()
