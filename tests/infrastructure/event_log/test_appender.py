"""The queue before both databases: bounded, and one bad command harms no other."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import AsyncIterator, Iterator
from contextlib import closing, contextmanager

import psycopg
import pytest

from application.ports import Appended, EventLog
from domain.errors import Invalid, LogFull
from infrastructure.event_log import appender
from infrastructure.event_log.opening import open_event_log
from infrastructure.event_log.urls import is_sqlite, sqlite_path
from tests.contracts.event_log_commands import a_command
from tests.infrastructure.event_log.proof import appended, assert_one_effect

POSTGRES_POISON = """
    CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE 'poison'; END $$;
    CREATE TRIGGER refuse BEFORE INSERT ON kasal_events
        FOR EACH ROW WHEN (NEW.topic = 'poison') EXECUTE FUNCTION refuse();
"""
SQLITE_POISON = """
    CREATE TRIGGER refuse BEFORE INSERT ON kasal_events WHEN NEW.topic = 'poison'
    BEGIN SELECT RAISE(ABORT, 'poison'); END;
"""


@pytest.fixture
async def short_log(event_log_url: str) -> AsyncIterator[EventLog]:
    """A log before which three commands may wait."""
    log = await open_event_log(event_log_url, queue_limit=3)
    yield log
    await log.close()


@contextmanager
def writers_held_up(url: str) -> Iterator[None]:
    """Somebody else holds the write lock."""
    if is_sqlite(url):
        with closing(sqlite3.connect(sqlite_path(url), isolation_level=None)) as connection:
            connection.execute("BEGIN IMMEDIATE")
            yield
    else:
        with psycopg.connect(url) as session:
            session.execute("SELECT pg_advisory_xact_lock(hashtextextended('kasal_events', 0))")
            yield


def execute_script(url: str, sqlite: str, postgres: str) -> None:
    if is_sqlite(url):
        with closing(sqlite3.connect(sqlite_path(url))) as connection:
            connection.executescript(sqlite)
    else:
        with psycopg.connect(url) as session:
            session.execute(postgres.encode())


async def test_a_full_queue_refuses_at_once_and_serves_who_is_in_it(
    short_log: EventLog, event_log_url: str
) -> None:
    with writers_held_up(event_log_url):
        in_flight = asyncio.ensure_future(short_log.append(a_command("order-0")))
        await asyncio.wait([in_flight], timeout=0.1)
        queued = asyncio.ensure_future(appended(short_log, [a_command(f"order-{n}") for n in range(1, 6)]))
        await asyncio.wait([queued], timeout=0.1)
        with pytest.raises(LogFull) as full:
            await short_log.append(a_command("order-6"))
        assert full.value.retry_after_s == 1
        assert await short_log.head() == 0
    answers = await queued
    assert [type(answer) for answer in answers.values()] == [Appended] * 3 + [LogFull] * 2
    assert (await in_flight).position == 1
    assert (await short_log.append(a_command("order-6"))).position == 5


async def test_a_queue_that_holds_too_many_bytes_is_full(
    event_log: EventLog, event_log_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(appender, "MAX_QUEUE_BYTES", 1_000)
    with writers_held_up(event_log_url):
        commands = [a_command(f"order-{n}", body=b"x" * 600) for n in range(3)]
        answering = asyncio.ensure_future(appended(event_log, commands))
        await asyncio.wait([answering], timeout=0.1)
    answers = await answering
    assert [type(answer) for answer in answers.values()] == [Appended, LogFull, LogFull]


async def test_a_batch_beyond_its_bytes_is_written_in_parts(
    event_log: EventLog, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(appender, "MAX_BATCH_BYTES", 1_000)
    answers = await appended(event_log, [a_command(f"order-{n}", body=b"x" * 600) for n in range(9)])
    assert {type(answer) for answer in answers.values()} == {Appended}
    await assert_one_effect(event_log, answers)


async def test_a_command_that_the_database_refuses_is_alone(event_log: EventLog, event_log_url: str) -> None:
    execute_script(event_log_url, SQLITE_POISON, POSTGRES_POISON)
    batch = [
        a_command("order-1"),
        a_command("order-2", tag="poison"),
        a_command("order-1", at=1, events=2),
        a_command("order-3", tag="poison", key="k1"),
        a_command("order-4", key="k1"),
    ]
    answers = await appended(event_log, batch)
    assert [type(answers[command]) for command in batch] == [Appended, Invalid, Appended, Invalid, Appended]
    await assert_one_effect(event_log, answers)


async def test_reading_does_not_wait_for_who_writes(event_log: EventLog, event_log_url: str) -> None:
    await event_log.append(a_command("order-1"))
    with writers_held_up(event_log_url):
        writing = asyncio.ensure_future(event_log.append(a_command("order-2")))
        async with asyncio.timeout(2):
            assert await event_log.head() == 1
            assert len(await event_log.read_all(0, 10)) == 1
            assert len(await event_log.read_stream("order-1")) == 1
        assert not writing.done()
    assert (await writing).position == 2
