"""`ProgressStore` on JetStream: a stream that holds the newest document of each key.

Called by the delivery of webhooks. Its one rule: a save names the sequence of the save that it follows on,
and the server refuses any other. A stream that was lost is made by whoever comes next.
"""

from __future__ import annotations

import msgspec
from nats import errors

from application.webhooks.progress import ProgressMoved
from domain.errors import Unavailable
from infrastructure.nats.connection import Connection
from infrastructure.nats.jetstream import (
    API_TIMEOUT_S,
    NAME_IN_USE,
    WRONG_LAST_SEQUENCE,
    JetStreamError,
    Missing,
    ask,
    send,
)
from infrastructure.nats.subjects import WEBHOOKS, progress_subject

NOT_FOUND = "404"


class JetStreamProgress:
    """On one connection. `replicas` of the stream when it has to be made: 3 on a cluster."""

    def __init__(self, connection: Connection, *, replicas: int = 1) -> None:
        self._connection = connection
        self._replicas = replicas

    async def load(self, key: str) -> tuple[bytes, int]:
        request = msgspec.json.encode({"last_by_subj": progress_subject(key)})
        subject = f"$JS.API.DIRECT.GET.{WEBHOOKS}"
        try:
            message = await self._connection.request(subject, request, timeout=API_TIMEOUT_S)
        except errors.NoRespondersError:
            await self._make_stream()
            return b"", 0
        except (errors.Error, OSError) as error:
            raise Unavailable(f"JetStream can not be reached: {error}") from error
        headers = message.headers or {}
        if headers.get("Status") == NOT_FOUND:
            return b"", 0
        return message.data, int(headers["Nats-Sequence"])

    async def save(self, key: str, body: bytes, revision: int) -> int:
        try:
            return await self._save(key, body, revision)
        except Missing as missing:
            await self._make_stream()
            if revision:
                raise ProgressMoved("the stream was lost") from missing
            return await self._save(key, body, revision)

    async def _save(self, key: str, body: bytes, revision: int) -> int:
        headers = {
            "Nats-Expected-Stream": WEBHOOKS,
            "Nats-Expected-Last-Subject-Sequence": str(revision),
        }
        try:
            return (await send(self._connection, progress_subject(key), body, headers)).seq
        except JetStreamError as error:
            if error.err_code == WRONG_LAST_SEQUENCE:
                raise ProgressMoved(str(error)) from error
            raise

    async def _make_stream(self) -> None:
        config = {
            "name": WEBHOOKS,
            "description": "How far each webhook's delivery has come.",
            "subjects": [progress_subject("*", is_pattern=True)],
            "storage": "file",
            "retention": "limits",
            "num_replicas": self._replicas,
            "max_msgs_per_subject": 1,
            "allow_direct": True,
        }
        try:
            await ask(self._connection, f"STREAM.CREATE.{WEBHOOKS}", config)
        except JetStreamError as error:
            if error.err_code != NAME_IN_USE:
                raise
