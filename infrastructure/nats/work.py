"""The work queue on JetStream: one message for each step that waits for a runner or has one.

Called by the dispatcher (`enqueue`) and by runners (`take`). Its one rule: a message stays in the stream
until its work is done, and the stream holds a turn of a step only once. A stream that was lost is made by
whoever comes next.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Protocol

import msgspec
import structlog
from nats import errors
from nats.aio.msg import Msg

from application.ports import Work
from infrastructure.nats.connection import Connection
from infrastructure.nats.jetstream import (
    NAME_IN_USE,
    NANOSECONDS,
    JetStreamError,
    Missing,
    ask,
    post,
    send,
)
from infrastructure.nats.precedence import Lane
from infrastructure.nats.pulls import Pulls
from infrastructure.nats.subjects import WORK, work_filter, work_subject

log = structlog.get_logger()

HELD_ALREADY = "maximum messages per subject exceeded"
"""How the server says that the stream holds this turn of the step; the number it shares with a full disk."""

ACK_TIMEOUT_S = 1.0


class Leases(Protocol):
    """Somebody who outlives this process, and is told what it holds: the names of leases."""

    def hold(self, lease: str) -> None: ...

    def let_go(self, lease: str) -> None: ...


class Nobody:
    """`Leases` that nobody keeps."""

    def hold(self, lease: str) -> None: ...

    def let_go(self, lease: str) -> None: ...


NOBODY = Nobody()


class JetStreamWorkQueue:
    """`WorkQueue` on one connection.

    lease_s   how long work is a runner's own without a sign of life; the last process to say so decides
    replicas  of the stream when it has to be made: 3 on a cluster
    leases    is told of every lease as it is taken and as it ends
    """

    def __init__(
        self, connection: Connection, *, lease_s: float = 30, replicas: int = 1, leases: Leases = NOBODY
    ) -> None:
        self._connection = connection
        self._lease_s = lease_s
        self._replicas = replicas
        self._leases = leases
        self._pulls = Pulls(connection, self._make_consumer)

    async def enqueue(self, work: Work) -> None:
        """Stored when it returns. Raises `Unavailable`; then ask again."""
        subject, body = work_subject(work), msgspec.json.encode(work)
        try:
            await self._store(subject, body)
        except Missing:
            await self._make_stream()
            await self._store(subject, body)

    async def empty(self) -> None:
        """Leases of what was in the stream are good for nothing from now on."""
        try:
            await ask(self._connection, f"STREAM.PURGE.{WORK}")
        except Missing:
            return

    async def incarnation(self) -> str:
        """When the stream was made, and how often the server has been away: one that lost power may have lost
        what it stored last. Makes the stream when it is missing. Raises `Unavailable`."""
        epoch = self._connection.epoch
        try:
            answer = await ask(self._connection, f"STREAM.INFO.{WORK}")
        except Missing:
            await self._make_stream()
            answer = await ask(self._connection, f"STREAM.INFO.{WORK}")
        return f"{answer.created} {epoch}"

    async def take(self, queues: Sequence[str], timeout_s: float) -> JetStreamDelivery | None:
        """Waits at the server, so new work arrives within a millisecond; in the order of `precedence`."""
        deadline = time.monotonic() + timeout_s
        while (message := await self._pulls.take(queues, deadline - time.monotonic())) is not None:
            try:
                work = msgspec.json.decode(message.data, type=Work)
            except msgspec.DecodeError as error:
                log.error("unreadable work is thrown away", subject=message.subject, error=str(error))
                await message.term()
            else:
                self._leases.hold(message.reply)
                return JetStreamDelivery(self._connection, message, work, self._leases)
        return None

    async def _store(self, subject: str, body: bytes) -> None:
        try:
            await send(self._connection, subject, body, {"Nats-Expected-Stream": WORK})
        except JetStreamError as error:
            if error.description != HELD_ALREADY:
                raise

    async def _make_consumer(self, lane: Lane) -> None:
        config = {
            "durable_name": lane.consumer,
            "filter_subject": work_filter(lane.queue, lane.priority),
            "ack_policy": "explicit",
            "ack_wait": int(self._lease_s * NANOSECONDS),
            "max_deliver": -1,
            "max_ack_pending": -1,
            "deliver_policy": "all",
        }
        request = {"stream_name": WORK, "config": config}
        subject = f"CONSUMER.CREATE.{WORK}.{lane.consumer}"
        try:
            await ask(self._connection, subject, request)
        except Missing:
            await self._make_stream()
            await ask(self._connection, subject, request)

    async def _make_stream(self) -> None:
        """Sequences begin at the present microsecond: no acknowledgement of lost work can fit new work."""
        config = {
            "name": WORK,
            "description": "Steps that wait for a runner or have one.",
            "subjects": ["kasal.steps.>"],
            "storage": "file",
            "retention": "workqueue",
            "num_replicas": self._replicas,
            "first_seq": time.time_ns() // 1000,
            "max_msgs_per_subject": 1,
            "discard": "new",
            "discard_new_per_subject": True,
        }
        try:
            await ask(self._connection, f"STREAM.CREATE.{WORK}", config)
        except JetStreamError as error:
            if error.err_code != NAME_IN_USE:
                raise


class JetStreamDelivery:
    """`Delivery` of a message."""

    def __init__(self, connection: Connection, message: Msg, work: Work, leases: Leases) -> None:
        self._connection = connection
        self._message = message
        self._work = work
        self._leases = leases

    @property
    def work(self) -> Work:
        return self._work

    @property
    def number(self) -> int:
        """Counts deliveries of the server; one that no taker waited for any more counts too."""
        return self._work.delivered + self._message.metadata.num_delivered

    async def extend(self) -> None:
        """Sent, not confirmed: a lease that has ended shows when the log refuses the next report."""
        await post(self._connection, self._message.reply, Msg.Ack.Progress)

    async def done(self) -> None:
        """Confirmed by the server. Raises `Unavailable`; the work may then be delivered once more.

        A server that crashed may not know of this delivery; then the message itself is deleted.
        """
        try:
            await self._connection.request(self._message.reply, Msg.Ack.Ack, timeout=ACK_TIMEOUT_S)
        except errors.NoRespondersError:
            log.warning("work ended whose queue was lost meanwhile", execution=self._work.execution_id)
        except (errors.Error, OSError):
            await self._delete()
        self.let_go()

    async def _delete(self) -> None:
        request = {"seq": self._message.metadata.sequence.stream, "no_erase": True}
        try:
            await ask(self._connection, f"STREAM.MSG.DELETE.{WORK}", request)
        except Missing:
            return
        except JetStreamError as error:
            log.debug("the message was gone already", error=str(error))

    async def hand_back(self, delay_s: float = 0) -> None:
        """Sent, not confirmed: lost, it costs the rest of the lease."""
        await hand_back(self._connection, self._message.reply, delay_s)
        self.let_go()

    def let_go(self) -> None:
        self._leases.let_go(self._message.reply)


async def hand_back(connection: Connection, lease: str, delay_s: float = 0) -> None:
    """Give work back by the name of its lease, which its `Leases` were told."""
    delay = b' {"delay": %d}' % int(delay_s * NANOSECONDS) if delay_s > 0 else b""
    await post(connection, lease, Msg.Ack.Nak + delay)
