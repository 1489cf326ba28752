"""The queue before both databases: bounded, and one bad command harms no other."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import closing, contextmanager

import psycopg
import pytest

from application.ports import Append, Appended, EventLog
from domain.errors import Invalid, LogFull
from infrastructure.event_log import appender
from infrastructure.event_log.appender import Appender, FlushRefused
from infrastructure.event_log.head_watch import HeadWatch
from infrastructure.event_log.opening import open_event_log
from infrastructure.event_log.tail import Tail
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
        async with asyncio.timeout(20):
            assert await event_log.head() == 1
            assert len(await event_log.read_all(0, 10)) == 1
            assert len(await event_log.read_stream("order-1")) == 1
        assert not writing.done()
    assert (await writing).position == 2


class PlainWriter:
    """`appender.Writer` that stores nothing and refuses nothing."""

    async def flush(self, batch: Sequence[Append]) -> Sequence[Appended]:
        return [Appended(1, number) for number, _ in enumerate(batch, 1)]

    async def landed(self, appends: Sequence[Append]) -> Sequence[Appended | None]:
        return [None] * len(appends)

    async def close(self) -> None:
        """Nothing to let go of."""


async def test_who_appended_goes_on_before_who_follows() -> None:
    async def nothing() -> int:
        return 0

    watch = HeadWatch(nothing, poll_every_s=3600)
    queue = Appender(PlainWriter(), watch, Tail(), queue_limit=10)
    heard: list[str] = []

    async def follow() -> None:
        await watch.wait_beyond(0, timeout_s=60)
        heard.append("follower")

    async def answer() -> None:
        await queue.append(a_command("order-1"))
        for _ in range(2):  # a reply on its way out
            await asyncio.sleep(0)
        heard.append("appender")

    await asyncio.gather(follow(), answer())
    assert heard == ["appender", "follower"]
    await queue.close()
    await watch.close()


class ToldWriter(PlainWriter):
    """Whose database tells of the commit before it answers."""

    def __init__(self) -> None:
        self.queue: Appender | None = None

    async def flush(self, batch: Sequence[Append]) -> Sequence[Appended]:
        assert self.queue
        self.queue.heard(len(batch))
        for _ in range(5):  # the answer is on its way
            await asyncio.sleep(0)
        return await super().flush(batch)


class RefusingWriter(ToldWriter):
    """Whose database tells of somebody else's commit, and then refuses its own."""

    async def flush(self, batch: Sequence[Append]) -> Sequence[Appended]:
        await super().flush(batch)
        raise FlushRefused(Invalid("not this one"))


@pytest.mark.parametrize(("writer", "held"), [(ToldWriter(), 1), (RefusingWriter(), 0)])
async def test_who_follows_finds_our_own_commits_in_memory(writer: ToldWriter, held: int) -> None:
    async def nothing() -> int:
        return 0

    watch, tail = HeadWatch(nothing, poll_every_s=3600), Tail()
    queue = writer.queue = Appender(writer, watch, tail, queue_limit=10)

    async def found() -> int:
        await watch.wait_beyond(0, timeout_s=60)
        return len(tail.after(0, 10))

    following = asyncio.create_task(found())
    await asyncio.gather(queue.append(a_command("order-1")), return_exceptions=True)
    assert await following == held
    await queue.close()
    await watch.close()
