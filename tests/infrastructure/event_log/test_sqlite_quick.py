"""The quick way writes a whole batch, or nothing."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing

import msgspec
import pytest

from application.contents import StoredPart
from application.ports import Append, Appended, CommandRecord
from infrastructure.event_log.rows import CONTENT_COLUMNS
from infrastructure.event_log.schema import migrate
from infrastructure.event_log.sqlite_connections import connect
from infrastructure.event_log.sqlite_quick import MAX_ROWS, PREPARE, QuickFlush, Unsuited
from infrastructure.event_log.urls import sqlite_path
from tests.contracts.event_log_commands import a_command


@pytest.fixture
def connection(sqlite_url: str) -> Iterator[sqlite3.Connection]:
    migrate(sqlite_url)
    with closing(connect(sqlite_path(sqlite_url))) as connection:
        connection.executescript(PREPARE)
        yield connection


def flush(connection: sqlite3.Connection, *batch: Append, head: int = 0) -> list[Appended]:
    return list(QuickFlush(batch, head).store(connection))


def stored(connection: sqlite3.Connection) -> list[tuple[int, str, int]]:
    return connection.execute(
        "SELECT notification_id, originator_id, originator_version FROM kasal_events ORDER BY 1"
    ).fetchall()


def at(append: Append, version: int, **changes: object) -> Append:
    return msgspec.structs.replace(append, expected_version=version, **changes)


RECORD = CommandRecord(key="k", request_hash="h", command_id="c", response=b"order-1")


def test_a_batch_is_stored_with_its_positions(connection: sqlite3.Connection) -> None:
    batch = [
        a_command("order-1"),
        a_command("order-2"),
        at(a_command("order-1"), 1, guards=(("order-2", 1),)),
    ]
    assert flush(connection, *batch) == [Appended(1, 1), Appended(1, 2), Appended(2, 3)]
    assert stored(connection) == [(1, "order-1", 1), (2, "order-2", 1), (3, "order-1", 2)]
    assert flush(connection, a_command("order-3"), head=3) == [Appended(1, 4)]
    assert connection.execute("SELECT position FROM kasal_head").fetchone() == (4,)


def test_a_record_is_stored_with_where_its_command_landed(connection: sqlite3.Connection) -> None:
    flush(connection, a_command("order-0"), at(a_command("order-1"), 0, record=RECORD))
    columns = "key, request_hash, command_id, response, version, position"
    rows = connection.execute(f"SELECT {columns} FROM kasal_commands").fetchall()
    assert rows == [("k", "h", "c", b"order-1", 1, 2)]


@pytest.mark.parametrize(
    "refused",
    [
        at(a_command("order-1"), 0),
        at(a_command("order-1"), 5),
        at(a_command("order-3"), 0, guards=(("order-1", 2),)),
        at(a_command("order-3"), 0, record=RECORD),
    ],
    ids=["a version that is taken", "a version beyond", "a guard that moved", "a key that was used"],
)
def test_one_command_that_does_not_stand_leaves_nothing_of_the_batch(
    connection: sqlite3.Connection, refused: Append
) -> None:
    flush(connection, at(a_command("order-1"), 0, record=RECORD))
    with pytest.raises(Unsuited):
        flush(connection, a_command("order-2"), refused, head=1)
    assert stored(connection) == [(1, "order-1", 1)]
    assert flush(connection, a_command("order-2"), head=1) == [Appended(1, 2)]


def test_a_log_that_another_process_moved_is_not_written(connection: sqlite3.Connection) -> None:
    flush(connection, a_command("order-9"))
    with pytest.raises(Unsuited):
        flush(connection, a_command("order-1"))
    assert stored(connection) == [(1, "order-9", 1)]


def test_a_batch_of_too_many_rows_goes_the_long_way(connection: sqlite3.Connection) -> None:
    with pytest.raises(Unsuited):
        flush(connection, *(a_command(f"order-{number}") for number in range(MAX_ROWS)))


def test_contents_are_stored_with_the_events_that_name_them(connection: sqlite3.Connection) -> None:
    part = StoredPart("default", "order-1", "d" * 64, 0, 4, b"text")
    flush(connection, *(at(a_command(stream), 0, contents=(part,)) for stream in ("order-1", "order-2")))
    rows = connection.execute(f"SELECT {CONTENT_COLUMNS} FROM kasal_contents").fetchall()
    assert rows == [msgspec.structs.astuple(part)]
