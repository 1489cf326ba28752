"""The audit's view of a log on PostgreSQL. Made by `opening.open_audit_store`.

Its one rule: texts are read as bytes, and one keeper at a time adds a checkpoint.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import psycopg

from application.audit.merkle import StoredEvent
from application.audit.notes import Checkpoint, parsed
from application.audit.ports import TextPart
from application.audit.tiles import Place, Tiles
from domain.errors import LogUnavailable
from infrastructure.event_log.postgres_arrays import Ints
from infrastructure.event_log.postgres_connections import Readers, connect

EVENTS = """
    SELECT notification_id, originator_version, convert_to(originator_id, 'UTF8'), convert_to(topic, 'UTF8'),
        state, convert_to(metadata, 'UTF8')
    FROM kasal_events
"""
IN_RANGE = EVENTS + " WHERE notification_id > %s AND notification_id <= %s ORDER BY notification_id"
OF_STREAM = (
    EVENTS + " WHERE originator_id = %s AND originator_version > %s ORDER BY originator_version LIMIT %s"
)
STREAM_END = """
    SELECT originator_version, notification_id FROM kasal_events
    WHERE originator_id = %s ORDER BY originator_version DESC LIMIT 1
"""
ENDS = """
    SELECT coalesce((SELECT notification_id FROM kasal_events ORDER BY notification_id DESC LIMIT 1), 0),
        position
    FROM kasal_head
"""
TEXTS = """
    SELECT digest, owner, number, total_bytes, body FROM kasal_contents
    WHERE (digest, owner, number) > (%s, %s, %s) ORDER BY digest, owner, number LIMIT %s
"""
TILES = """
    SELECT t.level, t.number, t.hashes FROM unnest(%b::bigint[], %b::bigint[]) AS asked (level, number)
    JOIN kasal_tiles AS t ON t.level = asked.level AND t.number = asked.number
"""
PUT_TILE = """
    INSERT INTO kasal_tiles (level, number, hashes) VALUES (%s, %s, %b)
    ON CONFLICT (level, number) DO UPDATE SET hashes = excluded.hashes
"""
LAST = "SELECT note FROM kasal_checkpoints WHERE size <= %s ORDER BY size DESC LIMIT 1"
ASCENDING = "SELECT size, note FROM kasal_checkpoints WHERE size > %s ORDER BY size LIMIT %s"
DESCENDING = "SELECT note FROM kasal_checkpoints WHERE size < %s ORDER BY size DESC LIMIT %s"
PUT_CHECKPOINT = "INSERT INTO kasal_checkpoints (size, note) VALUES (%s, %s)"
LOCK = "SELECT pg_advisory_xact_lock(hashtextextended('kasal_checkpoints', 0))"
LAST_SIZE = "SELECT coalesce(max(size), 0) FROM kasal_checkpoints"

LARGEST = 2**63 - 1


class PostgresAuditStore:
    """`application.audit.ports.AuditStore` on one database."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._readers = Readers(url)

    async def events(self, after_position: int, to_position: int) -> Sequence[StoredEvent]:
        return await self._fetch(IN_RANGE, after_position, to_position)

    async def stream_events(self, stream: str, after_version: int, limit: int) -> Sequence[StoredEvent]:
        return await self._fetch(OF_STREAM, stream, after_version, limit)

    async def stream_end(self, stream: str) -> tuple[int, int]:
        rows = await self._fetch(STREAM_END, stream)
        return rows[0] if rows else (0, 0)

    async def ends(self) -> tuple[int, int]:
        last, head = (await self._fetch(ENDS))[0]
        return last, head

    async def tiles(self, places: Iterable[Place]) -> Tiles:
        asked = list(places)
        levels, numbers = Ints([level for level, _ in asked]), Ints([number for _, number in asked])
        return {
            Place(level, number): hashes
            for level, number, hashes in await self._fetch(TILES, levels, numbers)
        }

    async def texts(self, after: tuple[str, str, int], limit: int) -> Sequence[TextPart]:
        return [TextPart(*row) for row in await self._fetch(TEXTS, *after, limit)]

    async def last_checkpoint(self, up_to: int | None = None) -> Checkpoint | None:
        rows = await self._fetch(LAST, LARGEST if up_to is None else up_to)
        return parsed(rows[0][0])[0] if rows else None

    async def notes(self, after: int, limit: int) -> Sequence[tuple[int, str]]:
        return await self._fetch(ASCENDING, after, limit)

    async def newest(self, before: int | None, limit: int) -> Sequence[Checkpoint]:
        rows = await self._fetch(DESCENDING, LARGEST if before is None else before, limit)
        return [parsed(note)[0] for (note,) in rows]

    async def add(self, previous: int, tiles: Tiles, checkpoint: Checkpoint) -> bool:
        try:
            async with await connect(self._url) as connection, connection.transaction():
                await connection.execute(LOCK)
                found = await (await connection.execute(LAST_SIZE)).fetchone()
                if found != (previous,):
                    return False
                for place, hashes in tiles.items():
                    await connection.execute(PUT_TILE, (*place, hashes))
                await connection.execute(PUT_CHECKPOINT, (checkpoint.size, checkpoint.note))
        except psycopg.Error as error:
            raise LogUnavailable(f"the audit can not reach the event log: {error}") from error
        return True

    async def close(self) -> None:
        await self._readers.close()

    async def _fetch(self, query: str, *parameters: object) -> list[Any]:
        return await self._readers.fetch(query, parameters)
