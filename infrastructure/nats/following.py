"""Following the stream: an ephemeral consumer, made again whenever it may have lost something.

Called by `feed.follow`. Its one rule: it never acknowledges and never trusts a consumer further than the
unbroken count of what that consumer delivered; on any doubt it starts a new one behind the last event that it
has yielded.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Sequence
from contextlib import suppress

import msgspec
import structlog
from nats import errors
from nats.aio.msg import Msg
from nats.aio.subscription import Subscription

from application.ports import FeedTrimmed
from domain.errors import Unavailable
from domain.message import Recorded
from infrastructure.nats.cloudevents import from_cloudevent
from infrastructure.nats.connection import Connection
from infrastructure.nats.jetstream import NANOSECONDS, Missing, ask, post, status_of
from infrastructure.nats.subjects import EVENTS

log = structlog.get_logger()

BATCH = 500
MAX_PULL_BYTES = 8 * 1024 * 1024
PULL_S = 30
HEARTBEAT_S = 1
SILENT_HEARTBEATS = 3
"""After so many waits in which not even a heartbeat came, the consumer is taken for lost."""

INACTIVE_S = 30
"""The server forgets a consumer that has not been asked for so long."""

RETRY_S = 0.25


class Following:
    """One follower's place in the stream. `at` is the position of the last event it has yielded."""

    def __init__(self, connection: Connection, at: int, filters: Sequence[str]) -> None:
        self.at = at
        self._connection = connection
        self._filters = list(filters)
        self._subscription: Subscription | None = None
        self._inbox = ""
        self._generation = 0
        self._consumer = ""
        self._arrived: deque[Msg] = deque()
        self._bell = asyncio.Event()
        self._is_pulling = False
        self._delivered = 0
        self._epoch = 0
        self._silence = 0

    async def next_batch(self) -> Sequence[Recorded]:
        """What has arrived; () after about a second of nothing, whether the server is there or not."""
        try:
            await self._keep_pulling()
        except FeedTrimmed:
            raise
        except (Missing, Unavailable, errors.Error) as error:
            log.debug("feed can not be followed now", error=str(error))
            self._consumer = ""
            await asyncio.sleep(RETRY_S)
            return ()
        await self._wait()
        return self._take()

    async def close(self) -> None:
        """Let the consumer go; the server forgets it by itself when it can not be told."""
        with suppress(errors.Error, Unavailable):
            if self._subscription is not None:
                await self._subscription.unsubscribe()
            if self._consumer and self._connection.is_connected:
                await post(self._connection, f"$JS.API.CONSUMER.DELETE.{EVENTS}.{self._consumer}", b"")

    async def _keep_pulling(self) -> None:
        if not self._connection.is_connected:
            raise Unavailable("NATS is away")
        if not self._consumer:
            await self._start()
        if not self._is_pulling and not self._arrived:
            await self._pull()

    async def _start(self) -> None:
        """A new consumer behind `at`; whatever an earlier one still sends is left unread."""
        if self._subscription is None:
            self._inbox = self._connection.new_inbox()
            self._subscription = await self._connection.subscribe(f"{self._inbox}.*", cb=self._on_message)
        self._arrived.clear()
        self._generation += 1
        self._is_pulling, self._delivered, self._silence = False, 0, 0
        self._epoch = self._connection.epoch
        config = {
            "ack_policy": "none",
            "deliver_policy": "by_start_sequence",
            "opt_start_seq": self.at + 1,
            "filter_subjects": self._filters,
            "mem_storage": True,
            "num_replicas": 1,
            "inactive_threshold": INACTIVE_S * NANOSECONDS,
        }
        request = {"stream_name": EVENTS, "config": config}
        self._consumer = (await ask(self._connection, f"CONSUMER.CREATE.{EVENTS}", request)).name
        if self._filters:
            await self._check_beginning()

    async def _check_beginning(self) -> None:
        """After the consumer was made: what the stream holds then, it gets."""
        first = (await ask(self._connection, f"STREAM.INFO.{EVENTS}")).state.first_seq
        if first > self.at + 1:
            raise FeedTrimmed(f"the feed begins at position {first}, not at {self.at + 1} any more")

    async def _pull(self) -> None:
        request = {
            "batch": BATCH,
            "max_bytes": MAX_PULL_BYTES,
            "expires": PULL_S * NANOSECONDS,
            "idle_heartbeat": HEARTBEAT_S * NANOSECONDS,
        }
        subject = f"$JS.API.CONSUMER.MSG.NEXT.{EVENTS}.{self._consumer}"
        reply = f"{self._inbox}.{self._generation}"
        await post(self._connection, subject, msgspec.json.encode(request), reply=reply)
        self._is_pulling = True

    async def _on_message(self, message: Msg) -> None:
        """A message of the stream comes on its own subject and names its consumer in the reply."""
        if status := status_of(message):
            if message.subject == f"{self._inbox}.{self._generation}":
                self._on_status(status, message)
        elif f".{self._consumer}." in message.reply:
            self._arrived.append(message)
        else:
            return
        self._silence = 0
        self._bell.set()

    def _on_status(self, status: str, message: Msg) -> None:
        headers = message.headers or {}
        description = headers.get("Description", "")
        if status == "100":
            self._compare(int(headers.get("Nats-Last-Consumer", 0)))
        elif status == "503" or "Deleted" in description or "Shutdown" in description:
            self._consumer = ""
        else:  # the pull has ended: batch complete, bytes used up, time over
            self._is_pulling = False

    def _compare(self, sent: int) -> None:
        """A heartbeat says how many messages the consumer has sent: more than arrived means some are lost."""
        if sent != self._delivered + len(self._arrived):
            self._consumer = ""

    async def _wait(self) -> None:
        if self._arrived:
            return
        self._bell.clear()
        try:
            async with asyncio.timeout(HEARTBEAT_S):
                await self._bell.wait()
        except TimeoutError:
            self._silence += 1
            if self._silence >= SILENT_HEARTBEATS or self._epoch != self._connection.epoch:
                self._consumer = ""

    def _take(self) -> Sequence[Recorded]:
        """What arrived, as far as it is unbroken."""
        batch: list[Recorded] = []
        while self._arrived and len(batch) < BATCH:
            message = self._arrived.popleft()
            if _consumer_sequence(message) != self._delivered + 1:
                self._consumer = ""
                break
            self._delivered += 1
            batch.extend(_read(message))
        if batch:
            self.at = batch[-1].position
        return batch


def _read(message: Msg) -> tuple[Recorded, ...]:
    """The event; nothing for a message that some other system has put into the stream."""
    try:
        return (from_cloudevent(message.data),)
    except (msgspec.DecodeError, ValueError):
        log.error("the feed holds a message that is no event of ours", subject=message.subject)
        return ()


def _consumer_sequence(message: Msg) -> int:
    return message.metadata.sequence.consumer
