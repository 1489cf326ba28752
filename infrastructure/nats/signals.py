"""Signals: messages that are heard by whoever listens now and are stored nowhere.

Called for `kasal.control.<execution>` (stop), `kasal.offers.<queue>.>` (work to come) and
`kasal.tokens.<tenant>.<execution>` (a model's answer while it is made). Its one rule: nothing may depend on a
signal; it may be lost, and nobody learns of it.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from nats import errors
from nats.aio.subscription import Subscription

from infrastructure.nats.connection import Connection

MAX_UNHEARD = 1024
"""A listener that is so many signals behind loses the next ones."""


async def signal(connection: Connection, subject: str, body: bytes = b"") -> None:
    """Send and forget; lost while the server is away."""
    if not connection.is_connected:
        return
    try:
        await connection.publish(subject, body)
    except (errors.Error, OSError):
        return


@asynccontextmanager
async def listening(connection: Connection, subject: str) -> AsyncIterator[AsyncIterator[bytes]]:
    """What is signalled on a subject (wildcards are allowed) from entering on; ends with the connection.

    `async with listening(connection, tokens_subject(tenant, id)) as signals: async for body in signals: ...`
    """
    subscription = await connection.subscribe(subject, pending_msgs_limit=MAX_UNHEARD)
    try:
        if connection.is_connected:
            await connection.flush()
        yield _bodies(subscription)
    finally:
        if not (connection.is_closed or connection.is_draining):
            await subscription.unsubscribe()


async def _bodies(subscription: Subscription) -> AsyncIterator[bytes]:
    async for message in subscription.messages:
        yield message.data
