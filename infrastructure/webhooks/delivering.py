"""The delivery of webhooks put together, on the parts of a process.

Called by `wiring` for `kasal webhooks` and `kasal up`. Its one rule: what it opens it closes.
"""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import Sequence

from application.commands import CommandHandler
from application.live_events import Feed, LiveEvents
from application.ports import Clock, EventLog
from application.webhooks.deliverer import Deliverer
from application.webhooks.sharing import Share
from application.webhooks.signing import Secrets
from domain.errors import Invalid, Unavailable
from infrastructure.nats.cloudevents import to_cloudevent
from infrastructure.nats.connection import Connection
from infrastructure.nats.progress import JetStreamProgress
from infrastructure.settings import Settings
from infrastructure.webhooks.sending import Sender
from projections.database import ReadDatabase
from projections.positions import position_of
from projections.subscriptions import NAME, all_subscriptions

FOLLOWERS = 1_000_000
"""Subscriptions that one process may follow events for."""


async def deliver(
    settings: Settings,
    secrets: Secrets | None,
    log: EventLog,
    feed: Feed,
    read_db: ReadDatabase,
    commands: CommandHandler,
    connection: Connection,
    clock: Clock,
    *,
    is_alone: bool,
) -> None:
    """Until cancelled. is_alone: there is no other process. Raises `Invalid` without a key."""
    if secrets is None:
        raise Invalid("KASAL_WEBHOOK_KEY: expected 32 characters or more, the same as of the API")
    store, sender = JetStreamProgress(connection), Sender(settings.webhook_hosts)

    async def known() -> tuple[int, Sequence[str]]:
        return await position_of(read_db, [NAME]), await all_subscriptions(read_db)

    deliverer = Deliverer(
        LiveEvents(log, feed, limit=FOLLOWERS),
        commands,
        store,
        known,
        sender.post,
        secrets,
        to_cloudevent,
        clock,
        share=Share(store, f"{socket.gethostname()}-{os.getpid()}", is_alone=is_alone),
    )
    try:
        await deliverer.run()
    finally:
        await sender.close()


async def progress_once_there(connecting: asyncio.Task[Connection], subscription_id: str) -> bytes:
    """What a subscription's courier has saved last. Raises `Unavailable` while NATS is away."""
    if not connecting.done():
        raise Unavailable("NATS was not reached yet")
    return (await JetStreamProgress(connecting.result()).load(subscription_id))[0]
