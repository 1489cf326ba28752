"""The recorder suites that the `eventsourcing` library ships, on our tables and positions."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager
from uuid import UUID, uuid4

import pytest
from eventsourcing.persistence import IntegrityError, StoredEvent
from eventsourcing.postgres import PostgresDatastore
from eventsourcing.sqlite import SQLiteDatastore
from psycopg.conninfo import conninfo_to_dict

from application.ports import EventLog
from infrastructure.event_log.recorders import PostgresRecorder, SqliteRecorder
from infrastructure.event_log.schema import migrate
from infrastructure.event_log.urls import is_sqlite, sqlite_path
from tests.contracts.event_log_commands import a_command, some_metadata
from tests.infrastructure.event_log.library_suites import (
    ApplicationRecorderTestCase,
    NonInterleavingNotificationIDsBaseCase,
)


class OnSqlite:
    @pytest.fixture(autouse=True)
    def _datastore(self, sqlite_url: str) -> Iterator[None]:
        migrate(sqlite_url)
        self.datastore = sqlite_datastore(sqlite_url)
        yield
        join_readers()
        self.datastore.close()

    def create_recorder(self) -> SqliteRecorder:
        return SqliteRecorder(self.datastore)

    def new_originator_id(self) -> UUID | str:
        return str(uuid4())


class OnPostgres:
    @pytest.fixture(autouse=True)
    def _datastore(self, postgres_url: str) -> Iterator[None]:
        migrate(postgres_url)
        self.datastore = postgres_datastore(postgres_url)
        yield
        join_readers()
        self.datastore.close()

    def create_recorder(self) -> PostgresRecorder:
        return PostgresRecorder(self.datastore)

    def new_originator_id(self) -> UUID | str:
        return str(uuid4())


def join_readers() -> None:
    """The library's concurrency test leaves its readers running; closing a connection under one crashes."""
    for thread in threading.enumerate():
        if "read_continuously" in thread.name:
            thread.join(10)


def sqlite_datastore(url: str) -> SQLiteDatastore:
    return SQLiteDatastore(str(sqlite_path(url)), originator_id_type="text")


def postgres_datastore(url: str) -> PostgresDatastore:
    server = {name: str(value) for name, value in conninfo_to_dict(url).items()}
    return PostgresDatastore(
        server["dbname"],
        server["host"],
        server.get("port", "5432"),
        server["user"],
        server.get("password", ""),
        pool_size=3,
        max_overflow=10,
        originator_id_type="text",
    )


class TestSqliteApplicationRecorder(OnSqlite, ApplicationRecorderTestCase):  # type: ignore[misc]
    """As the library has it."""


class TestSqliteNonInterleaving(OnSqlite, NonInterleavingNotificationIDsBaseCase):  # type: ignore[misc]
    """As the library has it."""


class TestPostgresApplicationRecorder(OnPostgres, ApplicationRecorderTestCase):  # type: ignore[misc]
    """As the library has it, its optional test of subscriptions included."""

    def test_insert_subscribe(self) -> None:
        self.optional_test_insert_subscribe()


class TestPostgresNonInterleaving(OnPostgres, NonInterleavingNotificationIDsBaseCase):  # type: ignore[misc]
    """As the library has it."""


async def test_the_log_and_a_recorder_read_each_other(event_log: EventLog, event_log_url: str) -> None:
    metadata = some_metadata("c1")
    with recorder(event_log_url) as library:
        first = library.insert_events([stored("order-1", 1), stored("order-1", 2)], metadata=metadata)
        second = library.insert_events([stored("order-2", 1)])
        assert (first, second) == ([1, 2], [3])
        assert [event.metadata for event in await event_log.read_stream("order-1")] == [metadata, metadata]
        await event_log.append(a_command("order-1", at=2))
        assert [n.id for n in library.select_notifications(start=1, limit=10)] == [1, 2, 3, 4]
    assert [event.position for event in await event_log.read_all(0, 10)] == [1, 2, 3, 4]


async def test_a_conflict_of_a_recorder_burns_no_position(event_log: EventLog, event_log_url: str) -> None:
    with recorder(event_log_url) as library:
        library.insert_events([stored("order-1", 1)])
        with pytest.raises(IntegrityError):
            library.insert_events([stored("order-1", 1)])
        assert library.insert_events([stored("order-1", 2)]) == [2]
    assert await event_log.head() == 2


def stored(stream: str, version: int) -> StoredEvent:
    return StoredEvent(stream, version, "thing.happened", b"{}")


@contextmanager
def recorder(url: str) -> Iterator[SqliteRecorder | PostgresRecorder]:
    """A recorder of the log at a URL."""
    if is_sqlite(url):
        with closing(sqlite_datastore(url)) as file:
            yield SqliteRecorder(file)
    else:
        with closing(postgres_datastore(url)) as server:
            yield PostgresRecorder(server)
