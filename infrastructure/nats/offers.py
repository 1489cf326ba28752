"""Offers over NATS: what a step's first claim would be granted reaches runners ahead of the work.

Sent beside the dispatcher, kept by runners. Its one rule: an offer is stored nowhere but in the memory of who
heard it, for a moment; what executions say lies in JetStream only encrypted.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from nats.aio.msg import Msg

from application.ports import Work
from infrastructure.nats.connection import Connection
from infrastructure.nats.subjects import offer_filter, offer_subject

GOOD_FOR_S = 2.0
"""Who waited longer in the queue asks again: something may have been said of the execution since."""

MAX_HEARD = 256
"""Offers that are kept, the newest: 16 MB at most."""


class Heard:
    """The offers of the last moments; each is given once."""

    def __init__(self) -> None:
        self._offers: dict[str, bytes] = {}

    async def listen(self, connection: Connection, queues: Sequence[str]) -> None:
        """For as long as the connection lives."""
        for queue in queues:
            await connection.listen(offer_filter(queue), self._keep)

    def take(self, work: Work) -> bytes | None:
        return self._offers.pop(offer_subject(work), None)

    def _keep(self, message: Msg) -> None:
        self._offers[message.subject] = message.data
        asyncio.get_running_loop().call_later(GOOD_FOR_S, self._offers.pop, message.subject, None)
        if len(self._offers) > MAX_HEARD:
            del self._offers[next(iter(self._offers))]
