"""The composition root: what each process is made of, but the runner (`running`).

The only module that knows every adapter.

Called by the entry points in `interfaces/processes` and `interfaces/operations`. Its one rule: a part is
opened when it is first asked for, and everything that was opened is closed in reverse order.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Iterable, Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any

from application.audit.ports import AuditStore
from application.audit.proofs import Audit
from application.audit.verifying import Verified, verify_log
from application.channel import CommandChannel
from application.commands import CommandHandler
from application.log_feed import LogFeed
from application.log_port import SealableLog
from application.relay import relay
from application.webhooks.signing import Secrets
from domain.errors import Invalid, LogUnavailable, Unavailable
from infrastructure import auditing
from infrastructure.clock import SystemClock
from infrastructure.dispatching import dispatch
from infrastructure.event_log.opening import open_audit_store, open_event_log
from infrastructure.event_log.schema import migrate, schema_state
from infrastructure.nats.accounts import READER_URL
from infrastructure.nats.cloudevents import CloudEvent, from_cloudevent, to_cloudevent
from infrastructure.nats.connection import Connection, connect
from infrastructure.nats.feed import JetStreamFeed
from infrastructure.nats.late import LateFeed, listening_once_there
from infrastructure.nats.requests import serve
from infrastructure.nats.server import NatsServer, keep_running, start_nats_server
from infrastructure.nats.subjects import COMMANDS, tokens_subject
from infrastructure.nats.work import JetStreamWorkQueue
from infrastructure.sealing.feed import OpenedFeed
from infrastructure.sealing.log import SealedEventLog, opened_with
from infrastructure.sealing.opening import installation_keys, made_key, sealed_log
from infrastructure.sealing.rewrapping import rewrap
from infrastructure.secret_files import kept_secret, write_secret
from infrastructure.settings import Settings
from infrastructure.tools.cataloguing import catalog_tools
from infrastructure.webhooks.delivering import deliver, progress_once_there
from infrastructure.webhooks.targets import target_of
from projections import ALL
from projections.database import ReadDatabase, open_read_database
from projections.engine import project
from seeds.planting import ORDER, Planted, Seeds, blog_production

if TYPE_CHECKING:
    from infrastructure.event_log.cleaning import Cleaning

CHANNEL_CONCURRENCY = 256
DAY_S = 86_400


class Installation:
    """The parts of one process over one set of settings. An async context manager."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.clock = SystemClock()
        self._stack = AsyncExitStack()
        self._stored: SealableLog | None = None
        self._log: SealedEventLog | None = None
        self._read: ReadDatabase | None = None
        self._commands: CommandHandler | None = None
        self._connecting: asyncio.Task[Connection] | None = None
        self._server: NatsServer | None = None
        self._opening = asyncio.Lock()
        self._roster = set[str]()

    async def __aenter__(self) -> Installation:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._stack.aclose()

    async def stored_log(self) -> SealableLog:
        """The log as it is stored. Raises `LogUnavailable` when its tables are not of this release."""
        async with self._opening:
            if self._stored is None:
                url, limit = self.settings.event_log_url, self.settings.log_queue
                log = await open_event_log(url, queue_limit=limit)
                self._stack.push_async_callback(log.close)
                if await asyncio.to_thread(schema_state, url) != "current":
                    raise LogUnavailable("the event log is of an older release; run `kasal migrate`")
                self._stored = log
        return self._stored

    async def log(self) -> SealedEventLog:
        """The event log as it was recorded. Raises as `stored_log` does, and `Invalid` without a key."""
        stored = await self.stored_log()
        if self._log is None:
            self._log = sealed_log(stored, installation_keys(self.settings))
        return self._log

    async def read(self) -> ReadDatabase:
        async with self._opening:
            if self._read is None:
                self._read = await open_read_database(self.settings.read_tables_url)
                self._stack.push_async_callback(self._read.close)
        return self._read

    async def commands(self) -> CommandHandler:
        if self._commands is None:
            self._commands = CommandHandler(await self.log(), self.clock)
        return self._commands

    async def nats(self) -> Connection:
        """The connection, once the server is there."""
        return await asyncio.shield(self._connection())

    async def feed(self) -> OpenedFeed:
        """The feed, its contents opened; it raises `Unavailable` until NATS was reached the first time."""
        return self._opened_feed(await self.log())

    def _opened_feed(self, log: SealedEventLog) -> OpenedFeed:
        return OpenedFeed(LateFeed(self._connection(), JetStreamFeed), log)

    async def queue(self) -> JetStreamWorkQueue:
        return JetStreamWorkQueue(await self.nats(), lease_s=self.settings.lease_s)

    def _connection(self) -> asyncio.Task[Connection]:
        if self._connecting is None:
            url = self._server.url if self._server else self.settings.nats_url
            if not url:
                raise Invalid("KASAL_NATS_URL: expected nats://user:password@host:port (or run `kasal up`)")
            self._connecting = asyncio.create_task(connect(url, f"kasal-{os.getpid()}"))
            self._stack.push_async_callback(self._disconnect)
        return self._connecting

    async def _disconnect(self) -> None:
        if (connecting := self._connecting) is not None and connecting.done():
            await connecting.result().close()
        elif connecting is not None:
            connecting.cancel()
            await asyncio.wait([connecting])

    # --- set-up

    async def migrate(self) -> None:
        """Bring the log's tables up to this release."""
        self.settings.data_dir.mkdir(parents=True, exist_ok=True, mode=0o700)
        await asyncio.to_thread(migrate, self.settings.event_log_url)

    async def cleaning(self) -> Cleaning:
        from infrastructure.event_log.cleaning import Cleaning  # both drivers, for a command only

        await self.stored_log()
        return Cleaning(self.settings.event_log_url, self.log)

    async def plant(self, seeders: Iterable[str] = ORDER) -> list[Planted]:
        """Run the seeds."""
        return await Seeds(await self.commands(), catalog_tools()).plant(seeders)

    def make_keys(self) -> None:
        """Those that are not set and not there, in the data folder, which this process owns."""
        auditing.make_key(self.settings)
        made_key(self.settings)

    async def start_nats(self) -> str:
        """The embedded server, where no other is set; its URL with credentials, for child processes only."""
        if self.settings.nats_url:
            return self.settings.nats_url
        binary = Path(self.settings.nats_server) if self.settings.nats_server else None
        self._server = await start_nats_server(
            self.settings.data_dir / "nats", binary=binary, port=self.settings.nats_port
        )
        self._stack.push_async_callback(self._server.stop)
        write_secret(self.settings.data_dir / READER_URL, self._server.reader_url)
        keeper = asyncio.create_task(keep_running(self._server))
        self._stack.callback(keeper.cancel)
        return self._server.url

    async def rewrap_keys(self) -> tuple[int, int]:
        return await rewrap(await self.stored_log(), installation_keys(self.settings))

    # --- loops: each runs until it is cancelled

    async def relay(self) -> None:
        """What is stored goes to JetStream, as it is."""
        feed = partial(JetStreamFeed, keep_s=self.settings.feed_days * DAY_S)
        await relay(await self.stored_log(), LateFeed(self._connection(), feed))

    async def keep_checkpoints(self) -> None:
        """Sign checkpoints of the log; without a key, nothing."""
        log, store = await self.stored_log(), self._audit_store()
        await auditing.keep_checkpoints(self.settings, store, self.clock, log.wait_beyond)

    async def project(self, *, follow_log: bool = False) -> None:
        """follow_log: the events come from this process's log, not over NATS."""
        log, read = await self.log(), await self.read()
        own = LogFeed(log, read.positions.gather_s, read.positions.awaited)
        await project(ALL, log, own if follow_log else self._opened_feed(log), read)

    async def dispatch(self, *, follow_log: bool = False, runners_are_gone: bool = False) -> None:
        log = await self.log()
        await dispatch(
            await self.nats(),
            await self.read(),
            log,
            await self.commands(),
            await self.queue(),
            self.clock,
            lambda gather_s: LogFeed(log, gather_s) if follow_log else self._opened_feed(log),
            self._roster,
            runners_are_gone=runners_are_gone,
        )

    async def serve_runners(self) -> None:
        """Answer the command channel; on cancellation, what was taken."""
        channel = CommandChannel(await self.commands(), await self.log(), self._roster)
        service = await serve(
            await self.nats(), COMMANDS, channel.answer, group="commands", concurrency=CHANNEL_CONCURRENCY
        )
        try:
            await asyncio.Event().wait()
        finally:
            await service.drain()

    async def deliver_webhooks(self, *, is_alone: bool = False) -> None:
        """is_alone: there is no other process (`kasal up` owns its folder)."""
        log = await self.log()
        feed = LogFeed(log) if is_alone else self._opened_feed(log)
        parts = log, feed, await self.read(), await self.commands(), await self.nats()
        await deliver(self.settings, self.webhook_secrets(), *parts, self.clock, is_alone=is_alone)

    # --- for the API

    def webhook_secrets(self) -> Secrets | None:
        """None where no key is set, and none can be made because other processes would not know it."""
        key = self.settings.webhook_key
        if not key and self._server is not None:
            key = kept_secret(self.settings.data_dir / "webhook.key")
        return Secrets(key) if key else None

    def check_webhook_url(self, url: str) -> None:
        target_of(url, self.settings.webhook_hosts)

    async def webhook_progress(self, subscription_id: str) -> bytes:
        return await progress_once_there(self._connection(), subscription_id)

    def tokens_of(self, tenant: str, execution_id: str) -> AbstractAsyncContextManager[AsyncIterator[bytes]]:
        """Pieces of model answers as JSON, while they are made. Raises `Unavailable` while NATS is away."""
        return listening_once_there(self._connection(), tokens_subject(tenant, execution_id))

    async def audit(self) -> Audit:
        return Audit(self._audit_store(), auditing.public_key(self.settings), await self.log())

    async def verify_log(self, keys: Sequence[str], **how: Any) -> Verified:
        """Walk the whole log. keys: public keys as text; how: as `application.audit.verifying` has it."""
        seals = await self.log()
        return await verify_log(self._audit_store(), auditing.verifier(keys), seals=seals, **how)

    def _audit_store(self) -> AuditStore:
        store = open_audit_store(self.settings.event_log_url)
        self._stack.push_async_callback(store.close)
        return store

    async def check_log(self) -> None:
        await (await self.log()).head()

    async def check_read(self) -> None:
        await (await self.read()).fetch("SELECT 1")

    async def check_nats(self) -> None:
        if not self._connection().done() or not (await self.nats()).is_connected:
            raise Unavailable("NATS can not be reached")


__all__ = [
    "READER_URL",
    "CloudEvent",
    "Installation",
    "auditing",
    "blog_production",
    "from_cloudevent",
    "opened_with",
    "to_cloudevent",
]
