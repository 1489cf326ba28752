"""What must be true of an installation after any fault: of its log, its feed and its read tables.

Used by the tests that kill. Its one rule: each is read past our own queries, and compared whole.
"""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Sequence

from nats import errors

from application.ports import EventLog
from domain.errors import Unavailable
from domain.message import Recorded
from infrastructure.nats.connection import Connection
from infrastructure.nats.jetstream import Missing
from infrastructure.sealing.log import SealedEventLog
from projections import ALL
from projections.database import ReadDatabase
from tests.infrastructure.event_log.proof import every_event
from tests.nats_servers import stream_contents
from tests.projections.oracle import expected, stored

PATIENCE_S = 60.0


async def assert_all_agree(log: EventLog, connection: Connection, read_db: ReadDatabase) -> list[Recorded]:
    """Positions 1..n and versions 1..n in each stream; the feed is the log; the read tables are its fold.

    Returns the log. What is still on its way (a slot that is returned, the feed, the tables) is waited for.
    """

    async def differing() -> str:
        events = await every_event(log)
        assert_whole(events)
        if await opened(log, await feed(connection)) != [(event.position, event) for event in events]:
            return "the feed is not the log"
        tables, fold = await stored(read_db, ALL), expected(ALL, events)
        different = [name for name in fold if tables[name] != fold[name]]
        return f"not the fold of the log: {different}" if different else ""

    deadline = time.monotonic() + PATIENCE_S
    while problem := await differing():
        assert time.monotonic() < deadline, problem
        await asyncio.sleep(0.1)
    return await every_event(log)


async def feed(connection: Connection) -> list[tuple[int, Recorded]]:
    """Every message with its sequence; [] while there is no stream."""
    try:
        return await stream_contents(connection)
    except (Missing, Unavailable, errors.Error):
        return []


async def opened(log: EventLog, messages: list[tuple[int, Recorded]]) -> list[tuple[int, Recorded]]:
    """As who has the key of the installation sees them."""
    if not isinstance(log, SealedEventLog):
        return messages
    events = await log.opened([event for _, event in messages])
    return [(sequence, event) for (sequence, _), event in zip(messages, events, strict=True)]


def assert_whole(events: Sequence[Recorded]) -> None:
    assert [event.position for event in events] == list(range(1, len(events) + 1))
    versions: Counter[str] = Counter()
    for event in events:
        versions[event.stream] += 1
        assert event.version == versions[event.stream]
