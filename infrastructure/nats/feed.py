"""The event feed on JetStream: the stream's sequence is the log's position.

Called by the relay, and by everything that follows the feed. Its one rule: every message is published on
condition that it follows the last one, by itself or in an atomic batch; nothing else writes to the stream.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from typing import Any

from nats.nuid import NUID

from application.ports import FeedMoved
from domain.message import Recorded
from infrastructure.nats.cloudevents import CONTENT_TYPE, to_cloudevent
from infrastructure.nats.connection import Connection
from infrastructure.nats.following import Following
from infrastructure.nats.jetstream import (
    NAME_IN_USE,
    NANOSECONDS,
    WRONG_LAST_SEQUENCE,
    JetStreamError,
    Missing,
    ask,
    post_all,
    send,
)
from infrastructure.nats.subjects import EVENTS, event_filter, event_subject

MAX_BATCH_MESSAGES = 1000
"""JetStream's bound for one atomic batch."""

MAX_BATCH_BYTES = 4 * 1024 * 1024
"""The server holds a batch in memory until it is committed."""

MAX_CHAIN = 8
"""Pages up to this go as single messages, each fenced, one behind the other without waiting. A batch costs
the server 2.2 ms however small it is, a message 0.2 ms (docs/decisions/0004)."""

Message = tuple[str, bytes, dict[str, str]]
"""Subject, body, headers."""


class JetStreamFeed:
    """`EventFeed` on one connection.

    replicas  of the stream when it has to be made: 3 on a cluster
    keep_s    how long the stream keeps an event, 0 for ever; None leaves that as it is
    """

    def __init__(self, connection: Connection, *, replicas: int = 1, keep_s: float | None = None) -> None:
        self._connection = connection
        self._replicas = replicas
        self._max_age = round((keep_s or 0) * NANOSECONDS)
        self._is_kept_as_set = keep_s is None
        self._ids = NUID()
        self._is_in_doubt = False

    async def last_position(self) -> int | None:
        """The stream's last sequence; None when there is no stream. Raises `Unavailable`."""
        try:
            known = await ask(self._connection, f"STREAM.INFO.{EVENTS}")
        except Missing:
            return None
        if not self._is_kept_as_set:
            await self._keep_as_set(known.config)
        return known.state.last_seq

    async def _keep_as_set(self, config: Mapping[str, Any]) -> None:
        """A stream that was made before may keep its events shorter or longer."""
        if config.get("max_age", 0) != self._max_age:
            await ask(self._connection, f"STREAM.UPDATE.{EVENTS}", {**config, "max_age": self._max_age})
        self._is_kept_as_set = True

    async def create(self, first_position: int) -> None:
        """Make the stream, so that its next message gets the sequence `first_position`."""
        config = {
            "name": EVENTS,
            "description": "Copy of the event log; the sequence is the position. Made again from the log.",
            "subjects": ["kasal.events.>"],
            "storage": "file",
            "retention": "limits",
            "num_replicas": self._replicas,
            "first_seq": first_position,
            "max_age": self._max_age,
            "allow_atomic": True,
            "allow_direct": True,  # readers ask for stored events without making consumers
            "deny_delete": True,
        }
        try:
            await ask(self._connection, f"STREAM.CREATE.{EVENTS}", config)
        except JetStreamError as error:
            if error.err_code != NAME_IN_USE:
                raise

    async def publish(self, page: Sequence[Recorded]) -> None:
        """Append a page: a small one as a chain of messages, others as one batch, very large ones as several.

        Raises `FeedMoved` (a part of the page may be in), `Unavailable` (the outcome is unknown), after which
        the last position tells where to go on; and `TooLarge`.
        """
        for batch in batches(page):
            if len(batch) <= MAX_CHAIN:
                await self._publish_chain(batch)
            else:
                await self._publish_batch(batch)

    async def follow(
        self, after_position: int, *, tags: Sequence[str] = ()
    ) -> AsyncIterator[Sequence[Recorded]]:
        """Batches of at most 500; an empty one about every second when there is nothing new."""
        filters = [event_filter(tag) for tag in tags]
        following = Following(self._connection, after_position, filters)
        try:
            while True:
                yield await following.next_batch()
        finally:
            await following.close()

    async def _publish_chain(self, batch: list[tuple[Recorded, bytes]]) -> None:
        """Sent together, in order; the server takes each only behind the one before.

        So the last one's acknowledgement is all of them's. After a refusal each is asked for, to see which
        it was and why.
        """
        messages = [_message(recorded, body) for recorded, body in batch]
        for (recorded, _), (_, _, headers) in zip(batch, messages, strict=True):
            headers["Nats-Expected-Last-Sequence"] = str(recorded.position - 1)
            headers["Nats-Expected-Stream"] = EVENTS
        unheard = [] if self._is_in_doubt else messages[:-1]
        self._is_in_doubt = True
        post_all(self._connection, unheard)
        *others, last = [self._commit(*message) for message in messages[len(unheard) :]]
        if others:
            for outcome in await asyncio.gather(*others, last, return_exceptions=True):
                if isinstance(outcome, BaseException):
                    raise outcome
        else:
            await last
        self._is_in_doubt = False

    async def _publish_batch(self, batch: list[tuple[Recorded, bytes]]) -> None:
        messages = [_message(recorded, body) for recorded, body in batch]
        messages[0][2]["Nats-Expected-Last-Sequence"] = str(batch[0][0].position - 1)
        messages[-1][2]["Nats-Expected-Stream"] = EVENTS
        self._mark_as_batch(messages)
        post_all(self._connection, messages[:-1])
        await self._commit(*messages[-1])

    def _mark_as_batch(self, messages: list[Message]) -> None:
        batch_id = self._ids.next().decode()
        for number, (_, _, headers) in enumerate(messages, start=1):
            headers["Nats-Batch-Id"] = batch_id
            headers["Nats-Batch-Sequence"] = str(number)
        messages[-1][2]["Nats-Batch-Commit"] = "1"

    async def _commit(self, subject: str, body: bytes, headers: dict[str, str]) -> None:
        try:
            await send(self._connection, subject, body, headers)
        except Missing as missing:
            raise FeedMoved("there is no feed") from missing
        except JetStreamError as error:
            if error.err_code == WRONG_LAST_SEQUENCE:
                raise FeedMoved(str(error)) from error
            raise


def batches(page: Sequence[Recorded]) -> Iterator[list[tuple[Recorded, bytes]]]:
    """The page as batches within JetStream's bounds, each event with its message body."""
    batch: list[tuple[Recorded, bytes]] = []
    size = 0
    for recorded in page:
        body = to_cloudevent(recorded)
        if batch and (len(batch) == MAX_BATCH_MESSAGES or size + len(body) > MAX_BATCH_BYTES):
            yield batch
            batch, size = [], 0
        batch.append((recorded, body))
        size += len(body)
    if batch:
        yield batch


def one_line(text: str) -> str:
    """What may stand in a header."""
    return " ".join(text.split())


def _message(recorded: Recorded, body: bytes) -> Message:
    headers = {"Content-Type": CONTENT_TYPE, "Kasal-Position": str(recorded.position)}
    if recorded.metadata.traceparent:
        headers["traceparent"] = one_line(recorded.metadata.traceparent)
    return event_subject(recorded), body, headers
