"""What a runner is made of: the engine that a warm parent loads, and the loop of each of its children.

The composition root of `kasal runner`, as `wiring` is that of the others: it has no database, and loads
nothing of one. Its one rule: what a parent loads has no thread, no event loop and no connection, so that it
survives a fork; what a child makes is its own.
"""

from __future__ import annotations

import asyncio
import os
import secrets
import socket
from pathlib import Path
from typing import TYPE_CHECKING, Literal, Protocol

import msgspec

from application.ports import CrewEngine
from application.runs import Runner
from infrastructure.isolation import IsolatingEngine, work_alone
from infrastructure.nats.attendance import attend
from infrastructure.nats.connection import Connection, connect
from infrastructure.nats.offers import Heard
from infrastructure.nats.requests import request
from infrastructure.nats.signals import signal
from infrastructure.nats.subjects import COMMANDS, EVERY_CONTROL, text_of, tokens_subject
from infrastructure.nats.work import JetStreamWorkQueue, hand_back
from infrastructure.settings import Settings
from infrastructure.tools import ToolSettings

if TYPE_CHECKING:
    from nats.aio.msg import Msg  # nats-py is loaded by `infrastructure.nats`

Engine = Literal["crewai", "noop"]


class Line(Protocol):
    """A child's line to the parent that forked it."""

    @property
    def leases(self) -> tuple[str, ...]:
        """Of the child that died in this one's place."""
        ...

    def fileno(self) -> int:
        """Readable as soon as the parent has ended."""
        ...

    def hold(self, lease: str) -> None:
        """The parent hands it on when this process dies."""
        ...

    def let_go(self, lease: str) -> None: ...

    def fork(self) -> socket.socket:
        """The near end of a pair whose other end has a new process that does `run_alone`."""
        ...


def load_engine(engine: Engine, settings: Settings, home: Path) -> CrewEngine:
    """The engine, all of it imported: with `crewai` some seconds and 300 MB. home: a folder for its files."""
    if engine == "noop":
        from infrastructure.crew.noop import NoopEngine

        return NoopEngine()
    from infrastructure.llm.environment import prepare, warm

    prepare(home)
    from infrastructure.crew.engine import CrewAIEngine

    warm()
    files = Path(settings.files_dir) if settings.files_dir else None
    tools = ToolSettings(
        files_dir=files, http_allow=settings.allowed_hosts, http_post_allow=settings.allowed_post_hosts
    )
    return CrewAIEngine(tools=tools, demo_delay_s=settings.demo_delay_s)


def run_alone(end: socket.socket, engine: CrewEngine) -> None:
    """A process for one step, which it is given over `end`."""
    asyncio.run(work_alone(end, engine))


def name_of_this_process() -> str:
    """Never used again, though a container's host name and process ids are."""
    return f"{socket.gethostname()}-{secrets.token_hex(4)}-{os.getpid()}"


async def take_steps(settings: Settings, engine: CrewEngine, line: Line) -> None:
    """All that a child does, over a connection of its own, until it is cancelled."""
    connection = await connect(settings.nats_url, f"kasal-{os.getpid()}")
    try:
        queue = JetStreamWorkQueue(connection, lease_s=settings.lease_s, leases=line)
        await run_steps(connection, queue, settings, engine, line)
    finally:
        await connection.close()


async def run_steps(
    connection: Connection,
    queue: JetStreamWorkQueue,
    settings: Settings,
    engine: CrewEngine,
    line: Line,
) -> None:
    """The loop of a child. Ends the process when the parent has ended."""
    asyncio.get_running_loop().add_reader(line.fileno(), os._exit, 1)
    name, signals, offers = name_of_this_process(), set[asyncio.Task[None]](), Heard()

    async def ask(body: bytes) -> bytes:
        return await request(connection, COMMANDS, body, timeout_s=30)

    def publish_tokens(tenant: str, execution_id: str, call: str, text: str) -> None:
        body = msgspec.json.encode({"call": call, "text": text})
        task = asyncio.create_task(signal(connection, tokens_subject(tenant, execution_id), body))
        signals.add(task)
        task.add_done_callback(signals.discard)

    runner = Runner(
        name,
        queue,
        ask,
        IsolatingEngine(engine, line.fork),
        queues=settings.queue_names,
        concurrency=settings.concurrency,
        heartbeat_s=settings.lease_s / 3,
        publish_tokens=publish_tokens,
        offered=offers.take,
    )
    await offers.listen(connection, settings.queue_names)
    await hand_back_leases(connection, line)
    await attend(connection, name)
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(obey(connection, runner))
        tasks.create_task(runner.run())


async def hand_back_leases(connection: Connection, line: Line) -> None:
    """What the process held that died in this one's place: it is taken again at once, not after its lease."""
    for lease in line.leases:
        await hand_back(connection, lease)
        line.let_go(lease)


async def obey(connection: Connection, runner: Runner) -> None:
    """What the dispatcher announces of executions; see `application.dispatcher.Order`."""

    async def ordered(message: Msg) -> None:
        order = runner.drain if message.data == b"drain" else runner.stop
        order(text_of(message.subject.rpartition(".")[2]))

    await connection.subscribe(EVERY_CONTROL, cb=ordered)
