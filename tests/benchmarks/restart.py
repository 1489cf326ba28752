"""1,000 executions under way when everything is killed with SIGKILL: from relaunch to the last end.

Run by `make bench` or `python -m tests.benchmarks.restart`. A runner that ends nothing claims them all, so
that each is RUNNING; then it, `kasal up` and nats-server are killed at once. The clock runs from the relaunch
of all three (the runner with the no-op engine) until the log, read past our own code, holds every end. It is
looked at 20 times a second: at 100 times the looking alone took half a core from what is measured.
"""

from __future__ import annotations

import asyncio
import os
import signal
import sqlite3
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import psycopg

from application.ports import Assignment, Reporter
from application.runs import Runner
from domain.execution import StepCompleted, StepFailed
from infrastructure.nats.attendance import attend
from infrastructure.nats.connection import connect
from infrastructure.nats.requests import request
from infrastructure.nats.server import NatsServer, start_nats_server
from infrastructure.nats.subjects import COMMANDS
from infrastructure.nats.work import JetStreamWorkQueue
from tests.benchmarks.end_to_end import THREE_STEPS
from tests.processes.stack import Process, Up, post
from tests.servers import postgres_database, postgres_server

EXECUTIONS = 1_000
WITHIN_S = 120
LOOK_EVERY_S = 0.05
PEERS = "Restate 2.4 s, DBOS 13 s"

Count = Callable[[str], int]


class Stuck:
    """An engine that ends nothing."""

    async def run(self, assignment: Assignment, reporter: Reporter) -> StepCompleted | StepFailed:
        await asyncio.Event().wait()
        raise AssertionError("unreachable")


async def hold(nats_url: str) -> None:
    """A runner that claims whatever comes; a process of its own, until it is killed."""
    connection = await connect(nats_url, "stuck")

    async def ask(body: bytes) -> bytes:
        return await request(connection, COMMANDS, body, timeout_s=30)

    await attend(connection, "stuck")
    queue = JetStreamWorkQueue(connection, lease_s=60)
    await Runner("stuck", queue, ask, Stuck(), concurrency=EXECUTIONS, heartbeat_s=30).run()


class Installation:
    """What is killed and launched again."""

    def __init__(self, folder: Path, nats: NatsServer, settings: dict[str, str]) -> None:
        self._folder = folder
        self._nats = nats
        self._settings = {"KASAL_NATS_URL": nats.url, **settings}
        self._processes: list[Process] = []

    def up(self) -> Up:
        up = Up(self._folder / "d", "--runners", "0", **self._settings)
        self._processes.append(up)
        return up

    def runner(self) -> None:
        settings = {"KASAL_DATA_DIR": str(self._folder / "r"), "KASAL_NATS_URL": self._nats.url}
        options = ("runner", "--engine", "noop", "--processes", "1", "--concurrency", "200")
        self._processes.append(Process(self._folder / "r.log", *options, **settings))

    async def kill(self) -> None:
        """Everything at once; the log's own database stays."""
        os.kill(self._nats.pid, signal.SIGKILL)
        for process in self._processes:
            os.killpg(process.popen.pid, signal.SIGKILL)
        for process in self._processes:
            process.popen.wait()
        await self._nats.wait()
        self._processes.clear()

    async def launch(self) -> None:
        await self._nats.start_again()
        self.runner()
        await asyncio.to_thread(self.up)


async def restarted(settings: dict[str, str], count: Count) -> float:
    with tempfile.TemporaryDirectory(prefix="kasal-bench-") as name:
        nats = await start_nats_server(Path(name) / "nats")
        installation = Installation(Path(name), nats, settings)
        holder = None
        try:
            up = installation.up()
            workflow_id = post(up.client, "/v1/workflows", THREE_STEPS)["id"]
            for _ in range(EXECUTIONS):
                post(up.client, "/v1/executions", {"workflow_id": workflow_id, "inputs": {}})
            holder = await asyncio.create_subprocess_exec(sys.executable, "-m", __spec__.name, nats.url)
            await until_all(count, "execution.step_started")
            holder.kill()
            await installation.kill()
            begin = time.perf_counter()
            launched = asyncio.create_task(installation.launch())
            await until_all(count, "execution.completed")
            took = time.perf_counter() - begin
            await launched
            return took
        finally:
            if holder is not None and holder.returncode is None:
                holder.kill()
            await installation.kill()


async def until_all(count: Count, tag: str) -> None:
    async with asyncio.timeout(WITHIN_S):
        while True:
            if count(tag) == EXECUTIONS:
                return
            await asyncio.sleep(LOOK_EVERY_S)


def in_sqlite(path: Path) -> Count:
    def count(tag: str) -> int:
        with sqlite3.connect(f"file:{path}?mode=ro", uri=True) as connection:
            return int(connection.execute(COUNT.format("?"), (tag,)).fetchone()[0])

    return count


def in_postgres(connection: psycopg.Connection[tuple[int]]) -> Count:
    def count(tag: str) -> int:
        row = connection.execute(COUNT.format("%s"), (tag,)).fetchone()
        return int(row[0]) if row else 0

    return count


COUNT = "SELECT count(*) FROM kasal_events WHERE topic = {}"


async def measure() -> None:
    with tempfile.TemporaryDirectory(prefix="kasal-bench-") as name:
        path = Path(name) / "log.db"
        took = await restarted({"KASAL_LOG_URL": f"sqlite:///{path}"}, in_sqlite(path))
        print(
            f"{EXECUTIONS} in flight, all killed, all COMPLETED after  sqlite      {took:5.1f} s   ({PEERS})"
        )
    with postgres_server() as server, postgres_database(server) as url:
        with psycopg.connect(url, autocommit=True) as connection:
            databases = {"KASAL_LOG_URL": url, "KASAL_READ_URL": url}
            took = await restarted(databases, in_postgres(connection))
        print(
            f"{EXECUTIONS} in flight, all killed, all COMPLETED after  postgresql  {took:5.1f} s   ({PEERS})"
        )


if __name__ == "__main__":
    asyncio.run(hold(sys.argv[1]) if sys.argv[1:] else measure())
