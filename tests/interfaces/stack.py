"""The HTTP application on real adapters, on a real socket, for tests.

Used by the fixtures beside it. Its one rule: nothing here is a mock: SQLite log and read tables, a relay, a
projector, uvicorn; the feed is the one that the test gives.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

from application.audit.keeping import Keeper
from application.audit.ports import AuditStore
from application.audit.proofs import Audit
from application.commands import CommandHandler, Context
from application.contents import Contents
from application.ports import EventFeed, EventLog
from application.relay import relay
from application.webhooks.progress import ProgressStore
from application.webhooks.signing import Secrets
from domain.catalog import Model, SetEntry
from domain.errors import Unavailable
from infrastructure.audit_keys import SigningKey
from infrastructure.clock import SystemClock
from infrastructure.event_log.opening import open_audit_store, open_event_log
from infrastructure.event_log.schema import migrate
from infrastructure.nats.cloudevents import to_cloudevent
from infrastructure.sealing.feed import OpenedFeed
from infrastructure.sealing.opening import sealed_log
from infrastructure.settings import Settings
from infrastructure.webhooks.targets import target_of
from interfaces.http.app import create_app, end_streams
from interfaces.http.examples import BLOG
from interfaces.http.parts import Parts
from interfaces.processes.serving import Server, configuration
from projections import ALL
from projections.database import ReadDatabase, open_read_database
from projections.engine import project
from tests.sealing import KEYS

KEY = SigningKey.generate("kasal/test")
"""Signs the checkpoints of tests."""

SYSTEM = Context(actor="system:test")
SECRETS = Secrets("a key of thirty-two letters or more")


class Tokens:
    """Pieces of model answers that a test hands out itself."""

    def __init__(self) -> None:
        self._listeners: dict[tuple[str, str], list[asyncio.Queue[bytes]]] = {}
        self.is_away = False

    @asynccontextmanager
    async def listen(self, tenant: str, execution_id: str) -> AsyncIterator[AsyncIterator[bytes]]:
        if self.is_away:
            raise Unavailable("away")
        queue: asyncio.Queue[bytes] = asyncio.Queue()
        self._listeners.setdefault((tenant, execution_id), []).append(queue)
        try:
            yield self._pieces(queue)
        finally:
            self._listeners[tenant, execution_id].remove(queue)

    def listeners(self, execution_id: str) -> int:
        return len(self._listeners.get(("default", execution_id), ()))

    def say(self, execution_id: str, piece: bytes) -> None:
        for queue in self._listeners.get(("default", execution_id), ()):
            queue.put_nowait(piece)

    async def _pieces(self, queue: asyncio.Queue[bytes]) -> AsyncIterator[bytes]:
        while True:
            yield await queue.get()


class Progress:
    """Where couriers save; a test that has some says where."""

    def __init__(self) -> None:
        self.store: ProgressStore | None = None

    async def saved(self, subscription_id: str) -> bytes:
        return (await self.store.load(subscription_id))[0] if self.store else b""


@dataclass
class Stack:
    """What runs, and a client to it."""

    url: str
    client: httpx.AsyncClient
    log: EventLog
    read: ReadDatabase
    commands: CommandHandler
    feed: EventFeed
    tokens: Tokens
    app: Any
    loops: dict[str, asyncio.Task[None]]
    audit_store: AuditStore
    progress: Progress

    async def workflow(self, **changes: object) -> str:
        """A saved workflow's id."""
        answer = await self.client.post(
            "/v1/workflows", json={**BLOG, **changes}, headers={"Prefer": "wait=10"}
        )
        assert answer.status_code == 201, answer.text
        return str(answer.json()["id"])

    async def execution(self, workflow_id: str | None = None, **more: object) -> dict[str, Any]:
        """A started execution's answer."""
        body = {"workflow_id": workflow_id or await self.workflow(), "inputs": {"industry": "solar"}, **more}
        answer = await self.client.post("/v1/executions", json=body, headers={"Prefer": "wait=10"})
        assert answer.status_code == 201, answer.text
        started: dict[str, Any] = answer.json()
        return started

    async def checkpoint(self) -> None:
        """Sign what is in the log by now."""
        keeper = await Keeper.of(self.audit_store, KEY, SystemClock())
        while await keeper.extend(10_000):
            pass
        if keeper.unsigned:
            assert await keeper.sign()

    async def stop(self, loop: str) -> None:
        """End the relay or the projector."""
        task = self.loops.pop(loop)
        task.cancel()
        await asyncio.wait([task])


@asynccontextmanager
async def running(
    folder: Path, feed: EventFeed, *, database: str = "", **settings: Any
) -> AsyncIterator[Stack]:
    """The whole of it, with one default model in its catalogue. database: PostgreSQL's URL; else SQLite."""
    url = database or f"sqlite:///{folder / 'log.db'}"
    await asyncio.to_thread(migrate, url)
    stored = await open_event_log(url)
    log = sealed_log(stored, KEYS)
    opened = OpenedFeed(feed, log)
    read = await open_read_database(database or f"sqlite:///{folder / 'read.db'}")
    commands = CommandHandler(log, SystemClock())
    await commands.handle(SetEntry(kind="models", entry=Model(name="demo/model", default=True)), SYSTEM)
    tokens = Tokens()
    audit_store, progress = open_audit_store(url), Progress()
    parts = Parts(
        settings=Settings(**settings),
        clock=SystemClock(),
        commands=commands,
        read=read,
        contents=Contents(log),
        audit=Audit(audit_store, KEY.public),
        read_log=log,
        feed=opened,
        to_cloudevent=to_cloudevent,
        subscribe_tokens=tokens.listen,
        webhook_secrets=SECRETS,
        webhook_progress=progress.saved,
        check_webhook_url=lambda url: target_of(url, ("127.0.0.1",)),
        required={"log": lambda: reach(log)},
    )
    app = create_app(parts)
    loops = {
        "relay": asyncio.create_task(relay(stored, feed)),
        "projector": asyncio.create_task(project(ALL, log, opened, read)),
    }
    try:
        async with serving(app) as address, httpx.AsyncClient(base_url=address, timeout=60) as client:
            yield Stack(address, client, log, read, commands, feed, tokens, app, loops, audit_store, progress)
            await end_streams(app)
    finally:
        for task in loops.values():
            task.cancel()
        await asyncio.wait([*loops.values(), asyncio.create_task(asyncio.sleep(0))])
        await read.close()
        await audit_store.close()
        await log.close()


async def reach(log: EventLog) -> None:
    await log.head()


@asynccontextmanager
async def serving(app: Any) -> AsyncIterator[str]:
    """The application on a free port of loopback."""
    listener = socket.create_server(("127.0.0.1", 0))
    server = Server(configuration(app, grace_s=5))
    task = asyncio.create_task(server.serve(sockets=[listener]))
    async with asyncio.timeout(60):
        while not server.started:
            assert not task.done(), "the server did not start"
            await asyncio.sleep(0.01)
    try:
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
    finally:
        server.should_exit = True
        await asyncio.wait([task], timeout=15)
