"""What the HTTP application is made of. Filled by the composition root, read by the routes.

Its one rule: nothing here is made by a route; a part that a process lacks is a fault of the wiring.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field

from application.audit.exporting import Exports
from application.audit.proofs import Audit
from application.commands import CommandHandler
from application.contents import Contents
from application.live_events import Feed, LogReader
from application.ports import Clock
from application.webhooks.signing import Secrets
from domain.message import Recorded
from infrastructure.settings import Settings
from projections.database import ReadDatabase

Check = Callable[[], Awaitable[None]]
"""Returns when all is well; raises a `KasalError` that says what is not."""


async def nothing(_: str) -> bytes:
    return b""


@dataclass(frozen=True, kw_only=True)
class Parts:
    """
    contents          large texts that events name
    audit             checkpoints of the log, and proofs
    read_log          history for streams, before the live feed takes over
    feed              events as they come; its going away stops nothing
    to_cloudevent     an event as CloudEvent JSON
    subscribe_tokens  (tenant, execution id): pieces of model answers as JSON, while they are made; entered
                      even while NATS is away, or raises `Unavailable`
    webhook_secrets   None where the installation has no key for webhooks: none can be made
    check_webhook_url raises `Invalid` for a URL that no webhook may have
    webhook_progress  what a subscription's courier has saved, b"" for nothing; raises `Unavailable`
    required          what /readyz demands, by name: without it commands can not be accepted
    degraded          what /readyz?verbose reports besides: without it answers are late, but nothing is lost
    """

    settings: Settings
    clock: Clock
    commands: CommandHandler
    read: ReadDatabase
    contents: Contents
    audit: Audit
    read_log: LogReader
    feed: Feed
    to_cloudevent: Callable[[Recorded], bytes]
    subscribe_tokens: Callable[[str, str], AbstractAsyncContextManager[AsyncIterator[bytes]]]
    webhook_secrets: Secrets | None = None
    check_webhook_url: Callable[[str], object] = str
    webhook_progress: Callable[[str], Awaitable[bytes]] = nothing
    required: Mapping[str, Check] = field(default_factory=dict)
    degraded: Mapping[str, Check] = field(default_factory=dict)

    @property
    def exports(self) -> Exports:
        return Exports(self.audit.store, self.contents, self.to_cloudevent, self.audit.seals)
