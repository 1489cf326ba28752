"""What the journal costs: the same crews with every call in PostgreSQL, and with reports that stay in memory.

Run by `make bench` or `python -m tests.benchmarks.journal`. `kasal up` (API, relay, projector, dispatcher) on
PostgreSQL and JetStream is a process of its own, as is the model, which takes 200 ms; this process is the
runner, with a runner's event loop and collector. Its processor time is that of a runner's core, with and
without. The two are measured in turns, because the machine's other users slow both down; the disk's part of a
model call is measured beside it.
"""

from __future__ import annotations

import asyncio
import os
import statistics
import tempfile
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

import msgspec
import psycopg
import uvloop

from application.ports import Assignment, CrewEngine, Reporter
from application.runs import Runner
from domain.execution import (
    Journaled,
    ModelCallCompleted,
    ModelCallStarted,
    Progress,
    StepCompleted,
    StepFailed,
)
from infrastructure.llm.environment import prepare
from infrastructure.nats.attendance import attend
from infrastructure.nats.connection import Connection, connect
from infrastructure.nats.requests import request
from infrastructure.nats.subjects import COMMANDS
from infrastructure.nats.work import JetStreamWorkQueue
from interfaces.loading import collect_seldom, for_good
from tests.benchmarks.crew import MODEL_S, TASKS, Silent, assignment, local_model
from tests.benchmarks.end_to_end import Client, Ends, house
from tests.processes.stack import Up, post
from tests.servers import postgres_database, postgres_server

AT_ONCE = (1, 10, 50, 100)
ROUNDS = 3
ALONE = 15
KEEP = 0.85
COMMITS = 30
COMMIT_BYTES = 4096
JOURNAL = 20

RunCrews = Callable[[int], Awaitable[None]]


NAME = "bench"


class Figure(msgspec.Struct, frozen=True):
    """Of some crews at once: how many a second, and the processor time of this process for each."""

    per_s: float
    cpu_ms: float


class Pair(msgspec.Struct, frozen=True):
    """The same crews without and with the journal, one after the other."""

    without: Figure
    journaled: Figure

    @property
    def kept(self) -> float:
        return self.journaled.per_s / self.without.per_s


class Journal(Silent):
    """Keeps the outcomes."""

    def __init__(self) -> None:
        self.entries: list[Journaled] = []

    async def record(self, *entries: Progress, wait: bool = True) -> None:
        self.entries += [entry for entry in entries if isinstance(entry, Journaled)]


class Timed:
    """An engine that takes the time that each model call waits for its reports: the intent, the result."""

    def __init__(self, engine: CrewEngine) -> None:
        self._engine = engine
        self.calls_ms: list[float] = []

    async def run(self, assignment: Assignment, reporter: Reporter) -> StepCompleted | StepFailed:
        return await self._engine.run(assignment, TimedReporter(reporter, self.calls_ms))


class TimedReporter:
    def __init__(self, reporter: Reporter, calls_ms: list[float]) -> None:
        self._reporter = reporter
        self._calls_ms = calls_ms
        self.tokens = reporter.tokens
        self._intent_ms = 0.0

    async def record(self, *entries: Progress, wait: bool = True) -> None:
        begin = time.perf_counter()
        await self._reporter.record(*entries, wait=wait)
        took = (time.perf_counter() - begin) * 1000
        if isinstance(entries[0], ModelCallStarted):
            self._intent_ms = took
        elif isinstance(entries[0], ModelCallCompleted):
            self._calls_ms.append(self._intent_ms + took)


async def figure(run: RunCrews, count: int) -> Figure:
    wall, cpu = time.perf_counter(), time.process_time()
    await run(count)
    wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
    return Figure(count / wall, cpu / count * 1000)


async def alone_ms(run: RunCrews) -> float:
    """The median time of a crew that has the machine for itself."""
    times = []
    for _ in range(ALONE):
        begin = time.perf_counter()
        await run(1)
        times.append(time.perf_counter() - begin)
    return statistics.median(times) * 1000


def runner(connection: Connection, engine: CrewEngine) -> Runner:
    async def ask(body: bytes) -> bytes:
        return await request(connection, COMMANDS, body, timeout_s=30)

    queue = JetStreamWorkQueue(connection, lease_s=30)
    return Runner(NAME, queue, ask, engine, concurrency=max(AT_ONCE))


def commit_ms(log_url: str) -> float:
    """The median time of a bare INSERT and its commit, of as much as a report has, on an idle server."""
    times = []
    with psycopg.connect(log_url, autocommit=True) as connection:
        connection.execute("CREATE TABLE bare (body text)")
        for _ in range(COMMITS):
            time.sleep(MODEL_S / 4)
            begin = time.perf_counter()
            connection.execute("INSERT INTO bare VALUES (%s)", ("x" * COMMIT_BYTES,))
            times.append(time.perf_counter() - begin)
        connection.execute("DROP TABLE bare")
    return statistics.median(times) * 1000


async def started_crews(up: Up, ends: Ends, body: dict[str, object], count: int) -> None:
    """Start crews over HTTP and wait for their ends; with a client that takes next to nothing of this
    process, which is the runner."""
    start = msgspec.json.encode(body)

    async def started_crew() -> None:
        http = await Client.open(up.url)
        answer = msgspec.json.decode(await http.post("/v1/executions", start))
        http.close()
        await ends.of(answer["id"])

    await asyncio.gather(*(started_crew() for _ in range(count)))


async def resumed_s() -> float:
    """A crew whose 20 calls are all in the journal, on a warm runner: the best of three."""
    from infrastructure.crew.engine import CrewAIEngine

    engine, journal = CrewAIEngine(), Journal()
    whole = long_assignment()
    await engine.run(whole, journal)
    assert len(journal.entries) == JOURNAL, len(journal.entries)
    again = msgspec.structs.replace(whole, attempt=2, journal=tuple(journal.entries))
    times = []
    for _ in range(3):
        begin = time.perf_counter()
        end = await engine.run(again, Silent())
        times.append(time.perf_counter() - begin)
        assert isinstance(end, StepCompleted), end
    return min(times)


def long_assignment() -> Assignment:
    """Twenty tasks of one call each."""
    base = assignment()
    task = next(iter(base.definition.tasks.values()))
    tasks = {f"task_{n}": msgspec.structs.replace(task, description=f"Part {n}") for n in range(JOURNAL)}
    definition = msgspec.structs.replace(base.definition, tasks=tasks)
    return msgspec.structs.replace(base, definition=definition)


async def measure(log_url: str) -> None:
    with for_good():
        from infrastructure.crew.engine import CrewAIEngine

        engine = CrewAIEngine()
    collect_seldom()

    async def in_memory(count: int) -> None:
        await asyncio.gather(*(engine.run(assignment(), Silent()) for _ in range(count)))

    async with house(log_url, log_url, runners=0) as (up, ends, nats_url):
        document = msgspec.to_builtins(assignment().definition) | {"name": "Journal"}
        for agent in document["agents"].values():
            agent["model"] = "openai/local"
        workflow_id = post(up.client, "/v1/workflows", document)["id"]
        body: dict[str, object] = {"workflow_id": workflow_id, "inputs": {"industry": "robotics"}}
        connection = await connect(nats_url, "bench-runner")
        await attend(connection, NAME)
        timed = Timed(engine)
        working = asyncio.create_task(runner(connection, timed).run())
        await asyncio.gather(in_memory(3), started_crews(up, ends, body, 3))

        async def journaled(count: int) -> None:
            await started_crews(up, ends, body, count)

        timed.calls_ms.clear()
        without_ms, with_ms = await alone_ms(in_memory), await alone_ms(journaled)
        report_alone(without_ms, with_ms, statistics.median(timed.calls_ms), commit_ms(log_url))
        for count in AT_ONCE:
            pairs = [
                Pair(await figure(in_memory, count), await figure(journaled, count)) for _ in range(ROUNDS)
            ]
            report(count, sorted(pairs, key=lambda pair: pair.kept)[ROUNDS // 2])
        working.cancel()
        await asyncio.wait([working])
        await connection.close()
    print(f"resume of a journal of {JOURNAL} calls           {await resumed_s():6.3f} s    (reach: < 0.5)")


def report_alone(without_ms: float, with_ms: float, call_ms: float, bare_ms: float) -> None:
    print(
        f"added to a model call: intent and result     {call_ms:6.1f} ms   "
        f"(reach: <= 3; a bare INSERT and commit: {bare_ms:.1f})"
    )
    print(
        f"one crew of {len(TASKS)} calls, {MODEL_S * 1000:.0f} ms each: {without_ms:.0f} ms in memory, "
        f"{with_ms:.0f} from its start over HTTP to its end heard"
    )


def report(count: int, pair: Pair) -> None:
    without, journaled = pair.without, pair.journaled
    print(
        f"{count:4} at once: {without.per_s:5.1f} crews/s and {without.cpu_ms:5.0f} ms CPU each without, "
        f"{journaled.per_s:5.1f} and {journaled.cpu_ms:5.0f} with: {pair.kept:.2f} (reach: >= {KEEP})"
    )


def main() -> None:
    with local_model(MODEL_S) as url, tempfile.TemporaryDirectory() as home:
        prepare(Path(home))
        os.environ.update(OPENAI_API_BASE=url, OPENAI_API_KEY="local")
        with postgres_server() as server, postgres_database(server) as database:
            uvloop.run(measure(database))


if __name__ == "__main__":
    main()
