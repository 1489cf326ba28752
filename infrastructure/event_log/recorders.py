"""The log's tables through the recorder interface of the `eventsourcing` library.

Called by whoever runs an `eventsourcing` application or its test suites on a log; Kasal itself goes through
`EventLog`. Its one rule: a recorder writes by the same statement as the appender, so its events take the same
gapless positions, and the log reads them like any other.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any
from uuid import UUID

from eventsourcing.persistence import StoredEvent
from eventsourcing.postgres import PostgresApplicationRecorder, PostgresDatastore
from eventsourcing.sqlite import SQLiteApplicationRecorder, SQLiteCursor, SQLiteDatastore

from domain.message import Metadata
from infrastructure.clock import SystemClock
from infrastructure.event_log.postgres_arrays import Blobs, Ints, Texts, register_arrays
from infrastructure.event_log.rows import encode_metadata
from infrastructure.event_log.sqlite_writer import NewRow, store

SQLITE_EVENTS = "(SELECT notification_id AS rowid, * FROM kasal_events)"
"""The library reads its positions from a column `rowid`."""

STORE = "SELECT kasal_store(%b, %b, %b, %b, %b) AS head"

clock = SystemClock()


class SqliteRecorder(SQLiteApplicationRecorder):
    """Of a datastore with text ids, on a file that `schema.migrate` has prepared."""

    def __init__(self, datastore: SQLiteDatastore) -> None:
        super().__init__(datastore, events_table_name=SQLITE_EVENTS)

    def _insert_events(
        self,
        c: SQLiteCursor,
        stored_events: Sequence[StoredEvent],
        *,
        metadata: Metadata | None = None,
        **_: Any,
    ) -> Sequence[int] | None:
        head = store(c.sqlite_cursor, _rows(stored_events, metadata))
        return list(range(head - len(stored_events) + 1, head + 1))


class PostgresRecorder(PostgresApplicationRecorder):
    """Of a datastore with text ids, on a database that `schema.migrate` has prepared."""

    def __init__(self, datastore: PostgresDatastore) -> None:
        super().__init__(datastore, events_table_name="kasal_events")

    def insert_events(
        self, stored_events: Sequence[StoredEvent], *, metadata: Metadata | None = None, **_: Any
    ) -> Sequence[int] | None:
        rows = _rows(stored_events, metadata)
        streams, versions, topics, states, metadatas = zip(*rows, strict=True) if rows else ((),) * 5
        arrays = (_texts(streams), Ints(versions), _texts(topics), Blobs(states), _texts(metadatas))
        with self.datastore.get_connection() as connection:
            register_arrays(connection)
            (row,) = connection.execute(STORE, arrays).fetchall()
        return list(range(row["head"] - len(rows) + 1, row["head"] + 1))


def _texts(texts: Sequence[str]) -> Texts:
    return Texts([text.encode() for text in texts])


def _rows(stored_events: Sequence[StoredEvent], metadata: Metadata | None) -> list[NewRow]:
    text = encode_metadata(metadata or _metadata()).decode()
    return [
        (_stream(event.originator_id), event.originator_version, event.topic, event.state, text)
        for event in stored_events
    ]


def _stream(originator_id: UUID | str) -> str:
    return originator_id if isinstance(originator_id, str) else str(originator_id)


def _metadata() -> Metadata:
    """Of events that come with none, as the library's do."""
    command_id = clock.new_id()
    return Metadata(
        event_id=clock.new_id(),
        at=clock.now(),
        tenant="default",
        actor="system:eventsourcing",
        command_id=command_id,
        correlation_id=command_id,
    )
