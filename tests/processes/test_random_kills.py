"""Fifty random ends of everything: whatever is killed, in whatever order, every start ends as it should.

One installation for each database, long-lived; a seed decides what is started, what is killed meanwhile, and
when. The seeds of a round follow each other without waiting for what the earlier ones have started, then all
of it is waited for and checked. Runners work with the no-op engine.
"""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import httpx
import pytest

from application.commands import CommandHandler, Context
from application.ports import EventLog
from domain.catalog import Model, SetEntry
from domain.execution import ExecutionCompleted, StepCompleted, TaskOutput
from domain.message import Recorded
from domain.registry import event_of
from infrastructure.clock import SystemClock
from infrastructure.nats.connection import Connection, connect
from projections.database import ReadDatabase, open_read_database
from tests.processes.flow_kills import assert_nothing_was_repeated, flow_between_kills
from tests.processes.invariants import assert_all_agree
from tests.processes.services import LOOPS, Services
from tests.sealing import open_sealed_log
from tests.servers import postgres_database
from tests.waiting import eventually

ROUNDS = {"sqlite": (range(13), range(13, 25)), "postgresql": (range(25, 38), range(38, 50))}
RUNNERS = dict.fromkeys(("runner-1", "runner-2"), ("--engine", "noop", "--processes", "2"))
STARTS = 4
"""Of each seed."""

MOST_EVENTS = 40
"""Between the start of a seed's executions and its kill, at random; they make about 150."""

PATIENCE_S = 240.0
CASES = [
    pytest.param(database, seeds, id=f"{database}-{seeds[0]}..{seeds[-1]}")
    for database, rounds in ROUNDS.items()
    for seeds in rounds
]

DOCUMENT: dict[str, Any] = {
    "name": "Three steps",
    "agents": {"worker": {"role": "Worker", "goal": "Work", "backstory": "Works", "model": "demo/small"}},
    "tasks": {
        name: {"agent": "worker", "description": "Work", "expected_output": "work"}
        for name in ("one", "two", "three", "four")
    },
    "steps": {
        "first": {"crew": {"tasks": ["one"]}},
        "left": {"crew": {"tasks": ["two"]}, "after": ["first"]},
        "right": {"crew": {"tasks": ["three"]}, "after": ["first"]},
        "last": {"crew": {"tasks": ["four"]}, "after": {"all": ["left", "right"]}},
    },
    "limits": {"max_attempts": 100},
}
LIMITED = {**DOCUMENT, "name": "One at a time", "concurrency": {"limit": 1}}


class House:
    """An installation, and the test's own eyes on its log, feed and read tables."""

    def __init__(
        self, services: Services, log: EventLog, connection: Connection, read_db: ReadDatabase
    ) -> None:
        self.services = services
        self.log = log
        self.connection = connection
        self.read_db = read_db

    async def end(self) -> None:
        await self.connection.close()
        await self.services.end()
        await self.read_db.close()
        await self.log.close()


async def opened(folder: Path, log_url: str, read_url: str) -> House:
    databases = {"KASAL_LOG_URL": log_url, "KASAL_READ_URL": read_url}
    services = await Services.start_all(folder, databases, RUNNERS, KASAL_SEED="false")
    log, read_db = await open_sealed_log(log_url), await open_read_database(read_url)
    model = Model(name="demo/small", default=True)
    await CommandHandler(log, SystemClock()).handle(
        SetEntry(kind="models", entry=model), Context(actor="test")
    )
    return House(services, log, await connect(services.nats.url, "test"), read_db)


@pytest.fixture(scope="module")
async def sqlite_house(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[House]:
    folder = tmp_path_factory.mktemp("sqlite")
    house = await opened(folder, f"sqlite:///{folder / 'log.db'}", f"sqlite:///{folder / 'read.db'}")
    yield house
    await house.end()


@pytest.fixture(scope="module")
async def postgresql_house(
    tmp_path_factory: pytest.TempPathFactory, postgres_server_url: str
) -> AsyncIterator[House]:
    with postgres_database(postgres_server_url) as url:
        house = await opened(tmp_path_factory.mktemp("postgresql"), url, url)
        yield house
        await house.end()


@pytest.fixture
def house(request: pytest.FixtureRequest, database: str) -> House:
    made: House = request.getfixturevalue(f"{database}_house")
    return made


@pytest.mark.timeout(900)
@pytest.mark.parametrize(("database", "seeds"), CASES)
async def test_whatever_is_killed_every_start_ends_once(
    house: House, database: str, seeds: Sequence[int]
) -> None:
    before, starting = await house.log.head(), list[asyncio.Task[dict[str, Any]]]()
    async with httpx.AsyncClient(base_url=house.services.url, timeout=20) as client:
        for seed in seeds:
            chance = random.Random(seed)  # noqa: S311 - a test, not a secret
            starting += starts(client, chance, seed)
            await kills(house, chance, await house.log.head())
        answers = await asyncio.wait_for(asyncio.gather(*starting), PATIENCE_S)
    ids = [str(answer["id"]) for answer in answers]
    try:
        await eventually(lambda: have_ended(house.log, before, ids), PATIENCE_S)
        events = await assert_all_agree(house.log, house.connection, house.read_db)
    except AssertionError as error:
        raise AssertionError(f"seeds {seeds}: {error}\n{house.services.words()}") from error
    assert len(set(ids)) == STARTS * len(seeds)
    for answer in answers:
        assert_stored(events, answer)
        assert_ended_once(events, str(answer["id"]))
    assert most_at_once(events) == 1


@pytest.mark.parametrize("database", ROUNDS)
async def test_who_is_killed_between_two_steps_repeats_neither(house: House, database: str) -> None:
    before = await house.log.head()
    try:
        execution_id = await flow_between_kills(house.services, house.connection, list(RUNNERS))
        await eventually(lambda: have_ended(house.log, before, [execution_id]), PATIENCE_S)
        events = await assert_all_agree(house.log, house.connection, house.read_db)
    except AssertionError as error:
        raise AssertionError(f"{error}\n{house.services.words()}") from error
    assert_nothing_was_repeated(events, execution_id)


def starts(client: httpx.AsyncClient, chance: random.Random, seed: int) -> list[asyncio.Task[dict[str, Any]]]:
    """Under way; one of them may run only alone among all of its kind."""
    bodies = [
        {"definition": document, "inputs": {}, "priority": chance.randrange(10)}
        for document in (LIMITED, *[DOCUMENT] * (STARTS - 1))
    ]
    return [
        asyncio.create_task(started(client, f"seed-{seed}-{number}", body))
        for number, body in enumerate(bodies)
    ]


async def started(client: httpx.AsyncClient, key: str, body: dict[str, Any]) -> dict[str, Any]:
    """What the start was answered, asked again with the same key until it is."""
    while True:
        try:
            response = await client.post("/v1/executions", json=body, headers={"Idempotency-Key": key})
        except httpx.TransportError:
            await asyncio.sleep(0.02)
            continue
        if response.status_code == 201:
            answer: dict[str, Any] = response.json()
            return answer
        assert response.status_code == 503, response.text
        await asyncio.sleep(0.02)


async def kills(house: House, chance: random.Random, before: int) -> None:
    """Some are killed together at a random moment, then started again in any order; twice, now and then,
    before they have come to work again."""
    head = before + chance.randrange(MOST_EVENTS)
    with suppress(AssertionError):
        await eventually(lambda: has_come_to(house.log, head), 2)
    for _ in range(chance.choice((1, 1, 1, 2))):
        await one_wave(house.services, chance)
        await asyncio.sleep(chance.random() * 0.2)
    await house.services.until_ready()


async def has_come_to(log: EventLog, position: int) -> bool:
    return await log.head() >= position


async def one_wave(services: Services, chance: random.Random) -> None:
    everybody = [*LOOPS, *RUNNERS, "nats"]
    victims = everybody if chance.random() < 0.15 else chance.sample(everybody, chance.choice((1, 1, 2, 3)))
    if chance.random() < 0.3:
        services.kill_child(chance.choice(list(RUNNERS)))
    for name in victims:
        if name == "nats":
            await services.kill_nats(wipe=chance.random() < 0.5)
        else:
            services.kill(name)
    await asyncio.sleep(chance.random() * 0.05)
    for name in chance.sample(victims, len(victims)):
        if name == "nats":
            await services.nats.start_again()
        else:
            services.start(name)


async def have_ended(log: EventLog, before: int, ids: list[str]) -> bool:
    events = await log.read_all(before, 1_000_000)
    return {event.entity_id for event in events if event.tag == "execution.completed"} >= set(ids)


def assert_stored(events: list[Recorded], answer: dict[str, Any]) -> None:
    last = events[answer["position"] - 1]
    assert (last.entity_id, last.version) == (answer["id"], answer["version"])


def assert_ended_once(events: list[Recorded], execution_id: str) -> None:
    """Each task and step has one outcome, and the execution one end: the newest attempt's."""
    own = [event_of(event) for event in events if event.entity_id == execution_id]
    steps = Counter(event.step for event in own if isinstance(event, StepCompleted))
    assert steps == {"first": 1, "left": 1, "right": 1, "last": 1}
    ends = [event for event in own if isinstance(event, ExecutionCompleted)]
    assert ends == [ExecutionCompleted(output=TaskOutput("four"))]
    assert own[-1] == ends[0]


def most_at_once(events: list[Recorded]) -> int:
    """Of the executions whose document allows one at a time."""
    under_way, most = set[str](), 0
    for event in events:
        if event.tag == "execution.admitted":
            under_way.add(event.entity_id)
        elif event.tag == "execution.completed":
            under_way.discard(event.entity_id)
        most = max(most, len(under_way))
    return most
