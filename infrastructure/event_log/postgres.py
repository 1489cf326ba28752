"""The log on PostgreSQL. Made by `opening.open_event_log`; the tables by `schema.migrate`.

One connection writes and hears of growth (`postgres_writer.py`), at most four read. Its one rule: positions
become visible in their order, so that whoever reads on from the last one that it saw misses nothing.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from itertools import chain
from typing import cast

import structlog

from application.contents import Holding, StoredPart
from application.log_port import StoredKey
from application.ports import Append, Appended, CommandRecord
from domain.errors import LogUnavailable
from domain.message import Recorded
from infrastructure.event_log.appender import Appender, FlushFailed
from infrastructure.event_log.deciding import MAX_VERSION, is_storable
from infrastructure.event_log.gathering import Gathering
from infrastructure.event_log.head_watch import HeadWatch
from infrastructure.event_log.postgres_arrays import Ints, Texts
from infrastructure.event_log.postgres_batch import part_columns
from infrastructure.event_log.postgres_connections import Readers
from infrastructure.event_log.postgres_statement import NEW_PARTS
from infrastructure.event_log.postgres_writer import RECORDS_OF, PostgresWriter
from infrastructure.event_log.rows import (
    BY_OWNER,
    EVENTS,
    HOLDINGS,
    KEYS,
    PART_BODY,
    command_record,
    holding,
    recorded,
    stored_key,
)
from infrastructure.event_log.tail import Tail

POLL_EVERY_S = 1.0
"""Behind NOTIFY, which a lost connection loses."""

READ_STREAM = EVENTS + " WHERE originator_id = %s AND originator_version > %s ORDER BY originator_version"
READ_STREAMS = (
    "SELECT found.* FROM unnest(%b::text[], %b::bigint[]) AS asked (stream, version) CROSS JOIN LATERAL ("  # noqa: S608 - our own
    + EVENTS
    + " WHERE originator_id = asked.stream AND originator_version > asked.version ORDER BY originator_version"
    ") AS found"
)
STREAMS_AT_ONCE = 64
READ_ALL = EVENTS + " WHERE notification_id > %s ORDER BY notification_id LIMIT %s"
READ_VERSION = "SELECT coalesce(max(originator_version), 0) FROM kasal_events WHERE originator_id = %s"
READ_HEAD = "SELECT position FROM kasal_head"
NEW_PART = NEW_PARTS + " RETURNING number"
READ_HOLDINGS = HOLDINGS + "tenant = %s AND digest = ANY (%b)" + BY_OWNER
READ_KEYS = KEYS + "stream = ANY (%b)"
KEYS_AFTER = KEYS + "stream > %s ORDER BY stream LIMIT %s"
PUT_KEY = "INSERT INTO kasal_keys VALUES (%s, %s, %s) ON CONFLICT DO NOTHING RETURNING stream"
REWRAP = (
    "UPDATE kasal_keys SET wrapping = %s, wrapped = %s WHERE stream = %s AND wrapped = %s RETURNING stream"
)
READ_PART = PART_BODY + "digest = %s AND owner = %s AND number = %s"


log = structlog.get_logger()


class PostgresEventLog:
    """`application.ports.EventLog` on one database."""

    def __init__(self, url: str, queue_limit: int) -> None:
        self._url = url
        self._readers = Readers(url)
        self._watch = HeadWatch(self.head, POLL_EVERY_S)
        self._tail = Tail()
        self._writer = PostgresWriter(url, lambda head: self._appender.heard(head))
        self._appender = Appender(self._writer, self._watch, self._tail, queue_limit)
        self._streams = Gathering(self._read_streams, STREAMS_AT_ONCE)
        self._keys = Gathering(self._read_keys, STREAMS_AT_ONCE)
        self._listener = asyncio.create_task(self._listen(), name="event log listener")

    async def append(self, append: Append) -> Appended:
        return await self._appender.append(append)

    async def read_stream(self, stream: str, after_version: int = 0) -> Sequence[Recorded]:
        if not is_storable(stream):
            return ()
        return await self._streams.answer((stream, min(after_version, MAX_VERSION)))

    async def version_of(self, stream: str) -> int:
        if not is_storable(stream):
            return 0
        rows = await self._readers.fetch(READ_VERSION, (stream,))
        return cast("int", rows[0][0])

    async def read_all(self, after_position: int, limit: int) -> Sequence[Recorded]:
        if known := self._tail.after(after_position, limit):
            return known
        return await self._read(READ_ALL, min(after_position, MAX_VERSION), limit)

    async def head(self) -> int:
        rows = await self._readers.fetch(READ_HEAD)
        return cast("int", rows[0][0])

    async def command_record(self, key: str) -> CommandRecord | None:
        if not is_storable(key):
            return None
        rows = await self._readers.fetch(RECORDS_OF, (Texts([key.encode()]),))
        return command_record(rows[0]) if rows else None

    async def put_part(self, part: StoredPart) -> None:
        await self._readers.fetch(NEW_PART, part_columns([part]))

    async def holdings(self, tenant: str, digests: Sequence[str]) -> Sequence[Holding]:
        wanted = Texts([digest.encode() for digest in digests])
        return [holding(row) for row in await self._readers.fetch(READ_HOLDINGS, (tenant, wanted))]

    async def read_part(self, owner: str, digest: str, number: int) -> bytes | None:
        rows = await self._readers.fetch(READ_PART, (digest, owner, number))
        return cast("bytes", rows[0][0]) if rows else None

    async def keys(self, streams: Sequence[str]) -> Sequence[StoredKey]:
        return await self._keys.answer(streams)

    async def keys_after(self, stream: str, limit: int) -> Sequence[StoredKey]:
        return [stored_key(row) for row in await self._readers.fetch(KEYS_AFTER, (stream, limit))]

    async def put_key(self, key: StoredKey) -> None:
        await self._readers.fetch(PUT_KEY, (key.stream, key.wrapping, key.wrapped))

    async def rewrap(self, before: StoredKey, now: StoredKey) -> None:
        await self._readers.fetch(REWRAP, (now.wrapping, now.wrapped, before.stream, before.wrapped))

    async def wait_beyond(self, position: int, timeout_s: float) -> None:
        await self._watch.wait_beyond(position, timeout_s)

    async def close(self) -> None:
        self._listener.cancel()
        await asyncio.wait([self._listener])
        await self._appender.close()
        await self._watch.close()
        await self._readers.close()

    async def _read(self, query: str, *parameters: object) -> Sequence[Recorded]:
        return tuple([recorded(row) for row in await self._readers.fetch(query, parameters)])

    async def _read_streams(self, asked: Sequence[tuple[str, int]]) -> Sequence[Sequence[Recorded]]:
        """Each from behind a version; a stream that is asked for alone costs no more than it did."""
        if len(asked) == 1:
            return [await self._read(READ_STREAM, *asked[0])]
        first: dict[str, int] = {}
        for stream, version in asked:
            first[stream] = min(version, first.get(stream, version))
        wanted = Texts([stream.encode() for stream in first]), Ints(list(first.values()))
        found: dict[str, list[Recorded]] = {stream: [] for stream in first}
        for event in await self._read(READ_STREAMS, *wanted):
            found[event.stream].append(event)
        return [tuple([e for e in found[stream] if e.version > after]) for stream, after in asked]

    async def _read_keys(self, asked: Sequence[Sequence[str]]) -> Sequence[Sequence[StoredKey]]:
        wanted = Texts([stream.encode() for stream in dict.fromkeys(chain.from_iterable(asked))])
        rows = await self._readers.fetch(READ_KEYS, (wanted,))
        found = {key.stream: key for key in map(stored_key, rows)}
        return [[found[stream] for stream in streams if stream in found] for streams in asked]

    async def _listen(self) -> None:
        """Hear of growth in other processes, for as long as the log is open."""
        is_away = False
        while True:
            try:
                gone = await self._writer.listening()
                self._watch.saw(await self.head())
                is_away = False
                await asyncio.wait([gone])
            except (FlushFailed, LogUnavailable) as error:
                if not is_away:
                    log.warning("the event log does not tell of growth, and is asked", error=str(error))
                is_away = True
            await asyncio.sleep(POLL_EVERY_S)
