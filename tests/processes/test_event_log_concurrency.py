"""Several processes, each with many writers, on the same hot streams, while a reader tails the log."""

from __future__ import annotations

import asyncio
import multiprocessing
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import suppress
from multiprocessing.connection import Connection

from application.ports import EventLog
from domain.errors import Conflict
from domain.message import Recorded
from infrastructure.event_log.opening import open_event_log
from tests.contracts.event_log_commands import a_command

PROCESSES = 3
WRITERS = 24
APPENDS = 20
STREAMS = 6

Acknowledged = tuple[str, str, int, int]
"""Command id, stream, version, position."""


def write(url: str) -> list[Acknowledged]:
    """One process of writers; what each was told."""
    return asyncio.run(write_all(url))


async def write_all(url: str) -> list[Acknowledged]:
    log = await open_event_log(url)
    lists = await asyncio.gather(*(write_some(log, number) for number in range(WRITERS)))
    await log.close()
    return [answer for answers in lists for answer in answers]


async def write_some(log: EventLog, number: int) -> list[Acknowledged]:
    acknowledged: list[Acknowledged] = []
    while len(acknowledged) < APPENDS:
        stream = f"order-{(number + len(acknowledged)) % STREAMS}"
        other = f"order-{(number + len(acknowledged) + 1) % STREAMS}"
        guard = (other, len(await log.read_stream(other)))
        version = len(await log.read_stream(stream))
        command = a_command(
            stream, at=version, events=1 + number % 2, guards=(guard,) if number % 8 == 0 else ()
        )
        try:
            answer = await log.append(command)
        except Conflict:
            continue
        command_id = command.events[0].metadata.command_id
        acknowledged.append((command_id, stream, answer.version, answer.position))
    return acknowledged


async def tail(log: EventLog, writing: asyncio.Future[list[list[Acknowledged]]]) -> list[Recorded]:
    """Follow the log from its begin until the writers are done and nothing is left."""
    seen: list[Recorded] = []
    while not writing.done() or await log.head() > len(seen):
        await log.wait_beyond(len(seen), timeout_s=0.5)
        page = await log.read_all(len(seen), 100)
        assert [event.position for event in page] == list(range(len(seen) + 1, len(seen) + len(page) + 1))
        seen += page
    return seen


async def test_acknowledged_is_stored_is_seen_without_a_hole(event_log: EventLog, event_log_url: str) -> None:
    loop = asyncio.get_running_loop()
    with ProcessPoolExecutor(PROCESSES, multiprocessing.get_context("spawn")) as pool:
        writing = asyncio.gather(
            *(loop.run_in_executor(pool, write, event_log_url) for _ in range(PROCESSES))
        )
        seen = await tail(event_log, writing)
        acknowledged = [answer for answers in await writing for answer in answers]
    assert len(acknowledged) == PROCESSES * WRITERS * APPENDS
    assert_whole(seen, acknowledged)
    assert {e.metadata.command_id for e in seen} == {command_id for command_id, *_ in acknowledged}
    assert await event_log.head() == len(seen)


def assert_whole(events: Sequence[Recorded], acknowledged: Sequence[Acknowledged]) -> None:
    """Positions and versions without a hole, and everything where its writer was told that it is."""
    assert [event.position for event in events] == list(range(1, len(events) + 1))
    versions: Counter[str] = Counter()
    for event in events:
        versions[event.stream] += 1
        assert event.version == versions[event.stream]
    assert {(e.metadata.command_id, e.stream, e.version, e.position) for e in events} >= set(acknowledged)


def write_until_killed(url: str, told: Connection) -> None:
    """Writers that tell of each answer as soon as they have it."""

    async def write_and_tell(log: EventLog, number: int) -> None:
        for version in range(1_000_000):
            stream = f"order-{number}"
            command = a_command(stream, at=version, key=f"{stream} {version + 1}")
            answer = await log.append(command)
            command_id = command.events[0].metadata.command_id
            told.send((command_id, stream, answer.version, answer.position))

    async def write_all() -> None:
        log = await open_event_log(url)
        await asyncio.gather(*(write_and_tell(log, number) for number in range(WRITERS)))

    asyncio.run(write_all())


async def test_a_process_killed_while_it_writes_loses_nothing_acknowledged(
    event_log: EventLog, event_log_url: str
) -> None:
    acknowledged: list[Acknowledged] = []
    receiver, sender = multiprocessing.Pipe(duplex=False)
    process = multiprocessing.get_context("spawn").Process(
        target=write_until_killed, args=(event_log_url, sender), daemon=True
    )
    process.start()
    sender.close()
    while len(acknowledged) < 500:
        assert await asyncio.to_thread(receiver.poll, 20)
        acknowledged.append(receiver.recv())
    process.kill()
    with suppress(EOFError):
        while True:
            acknowledged.append(receiver.recv())
    await event_log.append(a_command("survivor", key="survivor 1"))
    events = await event_log.read_all(0, 1_000_000)
    assert_whole(events, acknowledged)
    for event in events:
        record = await event_log.command_record(f"{event.stream} {event.version}")
        assert (record and record.position) == event.position
