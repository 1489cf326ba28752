"""The event loop writes small batches itself, and never waits for anybody."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from application.ports import Appended
from infrastructure.event_log import sqlite_inline
from infrastructure.event_log.schema import migrate
from infrastructure.event_log.sqlite_connections import connect
from infrastructure.event_log.sqlite_inline import IN_A_ROW, MAX_COMMANDS, InlineFlush
from infrastructure.event_log.sqlite_quick import QuickFlush
from infrastructure.event_log.urls import sqlite_path
from tests.contracts.event_log_commands import a_command


@pytest.fixture(autouse=True)
def patience(monkeypatch: pytest.MonkeyPatch) -> None:
    """A busy machine is not taken for a slow disk, but where a test says so."""
    monkeypatch.setattr(sqlite_inline, "SLOW_S", 60.0)


@pytest.fixture
def path(sqlite_url: str) -> Path:
    migrate(sqlite_url)
    return sqlite_path(sqlite_url)


@pytest.fixture
def inline(path: Path) -> Iterator[InlineFlush]:
    inline = InlineFlush(path)
    yield inline
    inline.close()


def batch(head: int, size: int = 1) -> QuickFlush:
    return QuickFlush([a_command(f"order-{head}-{number}") for number in range(size)], head)


def test_a_small_batch_is_stored(inline: InlineFlush, path: Path) -> None:
    assert inline.store(batch(0, 2)) == [Appended(1, 1), Appended(1, 2)]
    with closing(connect(path)) as connection:
        assert connection.execute("SELECT count(*), max(notification_id) FROM kasal_events").fetchone() == (
            2,
            2,
        )
        assert connection.execute("PRAGMA synchronous").fetchone() == (2,)


def test_a_large_batch_is_left_to_the_thread(inline: InlineFlush) -> None:
    assert inline.store(batch(0, MAX_COMMANDS + 1)) == ()


def test_it_does_not_wait_for_another_writer(inline: InlineFlush, path: Path) -> None:
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        assert inline.store(batch(0)) == ()
        other.execute("ROLLBACK")


def test_after_a_slow_batch_the_thread_has_the_next(
    inline: InlineFlush, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sqlite_inline, "SLOW_S", 0.0)
    monkeypatch.setattr(sqlite_inline, "REST_S", 3600.0)
    assert inline.store(batch(0)) == [Appended(1, 1)]
    assert inline.store(batch(1)) == ()


def test_now_and_then_the_thread_has_one(inline: InlineFlush) -> None:
    stored = [bool(inline.store(batch(head))) for head in range(IN_A_ROW)]
    assert all(stored)
    assert inline.store(batch(IN_A_ROW)) == ()
    assert inline.store(batch(IN_A_ROW)) == [Appended(1, IN_A_ROW + 1)]


def test_once_it_is_closed_it_stores_nothing(inline: InlineFlush) -> None:
    inline.close()
    assert inline.store(batch(0)) == ()
