"""Timers as JetStream message schedules: the server itself keeps the time, over restarts of everything.

Called by `wiring` for the dispatcher. Its one rule: the subject under which a timer is set is its identity,
so that setting it again replaces it. A stream that was lost is made by whoever comes next.
"""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta

import msgspec
import structlog
from nats import errors
from nats.aio.msg import Msg
from nats.aio.subscription import Subscription

from application.timers import Timer
from domain.errors import Unavailable
from infrastructure.nats.connection import Connection
from infrastructure.nats.jetstream import NAME_IN_USE, NANOSECONDS, JetStreamError, Missing, ask, post, send
from infrastructure.nats.subjects import TIMERS, TIMERS_RING, timer_subject

log = structlog.get_logger()

RING_AGAIN_S = 30
"""After so long without an acknowledgement a timer rings again."""

CONSUMER = "ring"


class JetStreamTimers:
    """`Timers` on one connection. replicas: of the stream when it has to be made: 3 on a cluster."""

    def __init__(self, connection: Connection, *, replicas: int = 1) -> None:
        self._connection = connection
        self._replicas = replicas
        self._subscription: Subscription | None = None

    async def set(self, timer: Timer) -> None:
        """Stored when it returns."""
        headers = {
            "Nats-Schedule": f"@at {whole_second(timer.due)}",
            "Nats-Schedule-Target": timer_subject("due", timer.kind, timer.key),
            "Nats-Expected-Stream": TIMERS,
        }
        subject, body = timer_subject("set", timer.kind, timer.key), msgspec.json.encode(timer)
        try:
            await send(self._connection, subject, body, headers)
        except Missing:
            await self._make()
            await send(self._connection, subject, body, headers)

    async def cancel(self, kind: str, key: str) -> None:
        try:
            await ask(self._connection, f"STREAM.PURGE.{TIMERS}", {"filter": timer_subject("set", kind, key)})
        except Missing:
            return

    async def incarnation(self) -> str:
        epoch = self._connection.epoch
        try:
            answer = await ask(self._connection, f"STREAM.INFO.{TIMERS}")
        except Missing:
            await self._make()
            answer = await ask(self._connection, f"STREAM.INFO.{TIMERS}")
        return f"{answer.created} {epoch}"

    async def take(self, timeout_s: float) -> JetStreamDue | None:
        """The server hands each to one of those who listen."""
        if self._subscription is None:
            await self._make()
            self._subscription = await self._connection.subscribe(TIMERS_RING, queue=CONSUMER)
        try:
            message = await self._subscription.next_msg(timeout=timeout_s)
        except errors.TimeoutError:
            return None
        except errors.Error as error:
            raise Unavailable(f"timers can not be heard: {error}") from error
        if (task := asyncio.current_task()) and task.cancelling():
            raise asyncio.CancelledError  # nats-py waits by `wait_for`, which may swallow it on Python 3.11
        try:
            return JetStreamDue(self._connection, message, msgspec.json.decode(message.data, type=Timer))
        except msgspec.DecodeError as error:
            log.error("an unreadable timer is thrown away", subject=message.subject, error=str(error))
            await post(self._connection, message.reply, Msg.Ack.Term)
            return None

    async def _make(self) -> None:
        """The stream and its consumer, where they are missing."""
        stream = {
            "name": TIMERS,
            "description": "What has to be done at a time, and what is due and not done yet.",
            "subjects": [timer_subject("set", "*", "*"), timer_subject("due", "*", "*")],
            "storage": "file",
            "retention": "workqueue",
            "num_replicas": self._replicas,
            "max_msgs_per_subject": 1,
            "allow_msg_schedules": True,
            "allow_msg_ttl": True,
        }
        consumer = {
            "durable_name": CONSUMER,
            "filter_subject": timer_subject("due", "*", "*"),
            "deliver_subject": TIMERS_RING,
            "deliver_group": CONSUMER,
            "ack_policy": "explicit",
            "ack_wait": RING_AGAIN_S * NANOSECONDS,
            "max_deliver": -1,
            "max_ack_pending": 256,
        }
        try:
            await ask(self._connection, f"STREAM.CREATE.{TIMERS}", stream)
        except JetStreamError as error:
            if error.err_code != NAME_IN_USE:
                raise
        request = {"stream_name": TIMERS, "config": consumer}
        await ask(self._connection, f"CONSUMER.CREATE.{TIMERS}.{CONSUMER}", request)


class JetStreamDue:
    """`Due` of a message."""

    def __init__(self, connection: Connection, message: Msg, timer: Timer) -> None:
        self._connection = connection
        self._message = message
        self._timer = timer

    @property
    def timer(self) -> Timer:
        return self._timer

    async def done(self) -> None:
        """Sent, not confirmed: lost, it rings once more."""
        await post(self._connection, self._message.reply, Msg.Ack.Ack)


def whole_second(due: datetime) -> str:
    """RFC 3339 as the server wants it, never before the time itself."""
    up = due.astimezone(UTC) + timedelta(microseconds=999_999)
    return up.strftime("%Y-%m-%dT%H:%M:%SZ")
