"""Loading and folding an execution of 10,000 events, beside reading the same rows and decoding them.

Run by `make bench`. What a command on a stream costs that no process remembers.
"""

from __future__ import annotations

import asyncio
import sqlite3
import statistics
import tempfile
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

import msgspec
import psycopg

from application.ports import Append, EventLog, NewEvent
from application.states import StreamStates
from domain.execution import (
    Content,
    ExecutionRequested,
    ModelCallCompleted,
    ModelCallStarted,
    StepScheduled,
    StepStarted,
)
from domain.message import Event, Metadata, tag_of
from domain.registry import EVENT_TYPES
from infrastructure.clock import SystemClock
from infrastructure.event_log.opening import open_event_log
from infrastructure.event_log.schema import migrate
from tests.domain.examples import blog
from tests.servers import postgres_database, postgres_server

EVENTS = 10_000
ROUNDS = 7
STREAM = "execution-long"
REACH_MS = 50
CONTENT = Content("d" * 64, 100, "a line of a prompt or an answer, about as long as this one")
QUERY = "SELECT topic, state FROM kasal_events WHERE originator_id = {} ORDER BY originator_version"


def events() -> list[Event]:
    """A long life: model calls, one after the other."""
    made: list[Event] = [
        ExecutionRequested(name="run", definition=blog(), inputs={}, models={}),
        StepScheduled(step="crew", turn=1),
        StepStarted(step="crew", turn=1, delivery=1, attempt=1, runner="r"),
    ]
    for number in range((EVENTS - len(made)) // 2):
        call = f"research:model:{number}"
        made.append(ModelCallStarted(step="crew", attempt=1, call=call, model="m", request=CONTENT, task="t"))
        made.append(
            ModelCallCompleted(
                step="crew",
                attempt=1,
                call=call,
                model="m",
                response=CONTENT,
                prompt_tokens=100,
                completion_tokens=50,
                cost_usd=0.001,
                duration_ms=900,
                task="t",
            )
        )
    return made


async def fill(log: EventLog) -> None:
    clock, made = SystemClock(), events()
    for start in range(0, len(made), 500):
        page = made[start : start + 500]
        metadata = Metadata(
            event_id=clock.new_id(), at=clock.now(), tenant="t", actor="a", command_id="c", correlation_id="c"
        )
        new = tuple(NewEvent(tag_of(event), msgspec.json.encode(event), metadata) for event in page)
        await log.append(Append(stream=STREAM, expected_version=start, events=new))


async def median_ms(work: Callable[[], Awaitable[object]]) -> float:
    took = []
    for _ in range(ROUNDS):
        begin = time.perf_counter()
        await work()
        took.append((time.perf_counter() - begin) * 1000)
    return statistics.median(took)


async def compare(database: str, url: str, rows: Callable[[], list[tuple[str, bytes]]]) -> None:
    """Print the fold of the log's own path, and that of the bare driver with msgspec."""
    migrate(url)
    log = await open_event_log(url)
    await fill(log)
    decoders = {tag: msgspec.json.Decoder(kind) for tag, kind in EVENT_TYPES.items()}

    async def fold() -> None:
        await StreamStates(log).load(STREAM, fresh=True)

    async def raw() -> None:
        read = await asyncio.to_thread(rows)
        for tag, body in read:
            decoders[tag].decode(body)

    ours, bare = await median_ms(fold), await median_ms(raw)
    await log.close()
    print(
        f"fold of {EVENTS} events, {database:10} {ours:6.1f} ms   (reach: <= {REACH_MS})"
        f"   raw read + msgspec {bare:6.1f} ms   x{ours / bare:.2f}"
    )


async def measure() -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "log.db"

        def sqlite_rows() -> list[tuple[str, bytes]]:
            with sqlite3.connect(path) as connection:
                return connection.execute(QUERY.format("?"), (STREAM,)).fetchall()

        await compare("sqlite", f"sqlite:///{path}", sqlite_rows)
    with postgres_server() as server, postgres_database(server) as url:

        def postgres_rows() -> list[tuple[str, bytes]]:
            with psycopg.connect(url) as connection:
                return connection.cursor(binary=True).execute(QUERY.format("%s"), (STREAM,)).fetchall()

        await compare("postgresql", url, postgres_rows)


def main() -> None:
    asyncio.run(measure())


if __name__ == "__main__":
    main()
