"""The log on PostgreSQL when connections die, answers are lost, the server restarts: one effect a command."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import suppress

import psycopg
import pytest

from application.ports import Appended, EventLog, Replayed
from domain.errors import Conflict, LogUnavailable
from infrastructure.event_log import appender, postgres, postgres_writer
from infrastructure.event_log.opening import open_event_log
from infrastructure.event_log.schema import migrate
from tests.contracts.event_log_commands import a_command
from tests.infrastructure.event_log.proof import Answers, appended, assert_one_effect
from tests.infrastructure.event_log.unreliable_network import UnreliableNetwork, unreliable_network
from tests.servers import PostgresServer
from tests.waiting import eventually

Session = psycopg.AsyncConnection[tuple[object, ...]]

KILL = "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE application_name = 'kasal'"
LOCK = "SELECT pg_advisory_lock(hashtextextended('kasal_events', 0))"
UNLOCK = "SELECT pg_advisory_unlock_all()"
WAITING = "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND NOT granted"


@pytest.fixture
def url(postgres_url: str) -> str:
    migrate(postgres_url)
    return postgres_url


@pytest.fixture
async def session(url: str) -> AsyncIterator[Session]:
    """Another session on the same database."""
    async with await psycopg.AsyncConnection.connect(url, autocommit=True) as connection:
        yield connection


@pytest.fixture
async def log(url: str) -> AsyncIterator[EventLog]:
    log = await open_event_log(url)
    yield log
    await log.close()


@pytest.fixture
async def proxy(url: str) -> AsyncIterator[tuple[UnreliableNetwork, str]]:
    async with unreliable_network(url) as proxy:
        yield proxy


@pytest.fixture
def network(proxy: tuple[UnreliableNetwork, str]) -> UnreliableNetwork:
    return proxy[0]


@pytest.fixture
async def far_log(proxy: tuple[UnreliableNetwork, str]) -> AsyncIterator[EventLog]:
    """The log, beyond the unreliable network."""
    log = await open_event_log(proxy[1])
    await log.append(a_command("warm-up"))
    yield log
    await log.close()


async def count(session: Session, query: str) -> object:
    row = await (await session.execute(query)).fetchone()
    assert row is not None
    return row[0]


async def chain(log: EventLog, stream: str, length: int) -> Answers:
    """One client that writes its stream event by event, and goes on after `LogUnavailable`."""
    answers: Answers = {}
    at = 0
    for _ in range(length):
        command = a_command(stream, at=at)
        answers |= await appended(log, [command])
        answer = answers[command]
        if isinstance(answer, Appended):
            at = answer.version
        else:
            assert isinstance(answer, LogUnavailable | Conflict)
            with suppress(LogUnavailable):
                at = len(await log.read_stream(stream))
    return answers


async def chains(log: EventLog, count: int, length: int) -> Answers:
    answers: Answers = {}
    for each in await asyncio.gather(*(chain(log, f"order-{n}", length) for n in range(count))):
        answers |= each
    return answers


async def test_backends_killed_while_they_write_lose_nothing(log: EventLog, session: Session) -> None:
    writing = asyncio.ensure_future(chains(log, count=8, length=60))
    kills = 0
    while not writing.done():
        kills += bool(await count(session, KILL))
        await asyncio.wait([writing], timeout=0.03)
    answers = await writing
    assert kills >= 3
    assert all(isinstance(answer, Appended) for answer in answers.values())
    await assert_one_effect(log, answers)


@pytest.mark.parametrize("lost", ["request", "answer"])
@pytest.mark.parametrize("key", [None, "k1"])
async def test_a_command_whose_connection_broke_has_one_effect(
    far_log: EventLog, network: UnreliableNetwork, lost: str, key: str | None
) -> None:
    command = a_command("order-1", events=2, key=key)
    network.lose_next("request" if lost == "request" else "answer")
    answer = await far_log.append(command)
    assert network.next_fault is None
    assert answer == Appended(version=2, position=3)
    await assert_one_effect(far_log, {command: answer})


async def test_a_batch_whose_answer_was_lost_is_answered_command_by_command(
    far_log: EventLog, network: UnreliableNetwork
) -> None:
    await far_log.append(a_command("order-9", key="k9"))
    network.lose_next("answer")
    batch = [
        a_command("order-1"),
        a_command("order-1", at=1, events=3),
        a_command("order-1", at=1),
        a_command("order-2", guards=(("order-1", 0),)),
        a_command("order-3", key="k3", guards=(("order-1", 4),)),
        a_command("order-4", key="k9"),
    ]
    answers = await appended(far_log, batch)
    assert network.next_fault is None
    assert [type(answers[command]) for command in batch] == [
        Appended,
        Appended,
        Conflict,
        Conflict,
        Appended,
        Replayed,
    ]
    await assert_one_effect(far_log, answers)


async def test_a_commit_that_comes_after_the_connection_broke_has_one_effect(
    far_log: EventLog, network: UnreliableNetwork, session: Session
) -> None:
    command = a_command("order-1")
    await session.execute(LOCK)
    answering = asyncio.ensure_future(far_log.append(command))
    await eventually(lambda: is_waiting(session, 1))
    network.cut_clients()
    await eventually(lambda: is_waiting(session, 2))
    await session.execute(UNLOCK)
    assert await answering == Appended(version=1, position=2)
    await assert_one_effect(far_log, {command: await answering})


async def is_waiting(session: Session, backends: int) -> bool:
    return await count(session, WAITING) == backends


async def test_a_server_that_falls_silent_is_left_for_a_new_connection(
    far_log: EventLog, network: UnreliableNetwork, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(postgres_writer, "FLUSH_TIMEOUT_S", 0.2)
    network.is_black_hole = True
    command = a_command("order-1")
    answering = asyncio.ensure_future(far_log.append(command))
    await asyncio.wait([answering], timeout=0.1)
    network.is_black_hole = False
    answer = await answering
    await assert_one_effect(far_log, {command: answer})


async def test_a_database_that_stays_away_is_unavailable_within_a_bound_and_comes_back(
    far_log: EventLog, network: UnreliableNetwork, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(appender, "SETTLE_WITHIN_S", 0.3)
    network.is_down = True
    network.cut_clients()
    answers = await appended(far_log, [a_command(f"order-{n}") for n in range(20)])
    assert {type(answer) for answer in answers.values()} == {LogUnavailable}
    with pytest.raises(LogUnavailable):
        await far_log.read_stream("order-0")
    network.is_down = False
    answers |= await appended(far_log, [a_command("order-20")])
    assert isinstance(list(answers.values())[-1], Appended)
    await assert_one_effect(far_log, answers)


async def test_a_log_that_is_closed_while_the_database_is_away_answers_everyone(
    far_log: EventLog, network: UnreliableNetwork, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(appender, "SETTLE_WITHIN_S", 0.3)
    network.is_down = True
    network.cut_clients()
    answering = asyncio.ensure_future(appended(far_log, [a_command("order-1"), a_command("order-2")]))
    await asyncio.sleep(0)
    async with asyncio.timeout(30):
        await far_log.close()
    assert {type(answer) for answer in (await answering).values()} == {LogUnavailable}


async def test_readers_and_listener_come_back_after_their_backends_were_killed(
    log: EventLog, session: Session, url: str
) -> None:
    await log.append(a_command("order-1"))
    await count(session, KILL)
    assert len(await log.read_all(0, 10)) == 1
    other = await open_event_log(url)
    waiting = asyncio.ensure_future(log.wait_beyond(1, timeout_s=90))
    await other.append(a_command("order-2"))
    async with asyncio.timeout(30):
        await waiting
    await other.close()


async def test_another_process_that_appends_wakes_who_waits(
    url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whether it has appended itself or not, and without a poll; its own commits are told to it as well."""
    monkeypatch.setattr(postgres, "POLL_EVERY_S", 600)
    one, other = await open_event_log(url), await open_event_log(url)
    for position, (writing, hearing) in enumerate(((other, one), (one, other), (other, one))):
        waiting = asyncio.ensure_future(hearing.wait_beyond(position, timeout_s=90))
        await asyncio.sleep(0.1)
        await writing.append(a_command(f"order-{position}"))
        async with asyncio.timeout(30):
            await waiting
    await one.close()
    await other.close()


async def test_a_database_without_tables_says_what_to_do(postgres_url: str) -> None:
    with pytest.raises(LogUnavailable, match="kasal migrate"):
        await open_event_log(postgres_url)


async def test_a_server_that_is_not_there_is_unavailable() -> None:
    with pytest.raises(LogUnavailable):
        await open_event_log("postgresql://postgres@127.0.0.1:1/kasal")


@pytest.fixture
def own_server() -> Iterator[PostgresServer]:
    """A server that a test may stop."""
    server = PostgresServer()
    yield server
    server.remove()


@pytest.mark.parametrize("mode", ["fast", "immediate"])
async def test_a_server_that_restarts_loses_nothing(own_server: PostgresServer, mode: str) -> None:
    migrate(own_server.url)
    log = await open_event_log(own_server.url)
    writing = asyncio.ensure_future(chains(log, count=8, length=200))
    await eventually(log.head)
    await asyncio.to_thread(own_server.stop, mode)
    await asyncio.to_thread(own_server.start)
    assert not writing.done()
    answers = await writing
    assert any(isinstance(answer, Appended) for answer in list(answers.values())[-8:])
    await assert_one_effect(log, answers)
    await log.close()
