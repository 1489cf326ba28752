"""Makes and checks the durable tables of the log, by Alembic, on SQLite and PostgreSQL alike.

Called by `kasal migrate`, by `kasal up` and by tests. Its one rule: a migration is one transaction under one
lock, so that any number of processes may call `migrate` at once, and one that dies half-way leaves nothing
behind.
"""

from __future__ import annotations

import importlib
import sqlite3
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Literal

import sqlalchemy as sa

from domain.errors import LogUnavailable
from infrastructure.event_log.urls import driver_errors, is_memory, is_sqlite, sqlite_path

SchemaState = Literal["current", "behind", "empty"]

VERSIONS = sorted(
    path.name[1:5] for path in Path(__file__).with_name("migrations").glob("versions/v[0-9]*_*.py")
)
"""Of the tables, by their scripts: `v0002_contents.py` makes version 0002."""

LOCK_TIMEOUT_S = 60
"""How long a migration waits for another one."""

POSTGRES_LOCK = "SELECT pg_advisory_xact_lock(hashtextextended('kasal_schema', 0))"


def migrate(url: str) -> None:
    """Bring the tables to this release's version; does nothing where they are.

    Raises `LogUnavailable` when the database can not be reached, refuses, or was made by a newer release.
    """
    if is_memory(url):
        return
    with _transaction(url) as connection:
        if _state(connection) != "current":
            importlib.import_module("infrastructure.event_log.migrating").upgrade(connection)


def schema_state(url: str) -> SchemaState:
    """Whether the tables are of this release, of an older one, or not there. Raises as `migrate` does."""
    if is_memory(url):
        return "current"
    if is_sqlite(url) and not sqlite_path(url).exists():
        return "empty"
    with _transaction(url) as connection:
        return _state(connection)


def _state(connection: sa.Connection) -> SchemaState:
    if not sa.inspect(connection).has_table("kasal_schema"):
        return "empty"
    version = connection.execute(sa.text("SELECT version_num FROM kasal_schema")).scalar()
    if version is None:
        return "empty"
    if version not in VERSIONS:
        raise LogUnavailable(f"the event log was made by a newer release of Kasal (schema {version})")
    return "current" if version == VERSIONS[-1] else "behind"


@contextmanager
def _transaction(url: str) -> Iterator[sa.Connection]:
    engine = _sqlite_engine(url) if is_sqlite(url) else _postgres_engine(url)
    try:
        with engine.begin() as connection:
            if connection.dialect.name == "postgresql":
                connection.exec_driver_sql(POSTGRES_LOCK)
            yield connection
    except sa.exc.DBAPIError as error:
        raise LogUnavailable(f"the event log's database refused: {error.orig}") from error
    except driver_errors(url) as error:
        raise LogUnavailable(f"the event log's database can not be reached: {error}") from error
    finally:
        engine.dispose()


def _postgres_engine(url: str) -> sa.Engine:
    import psycopg

    return sa.create_engine(
        "postgresql+psycopg://",
        creator=lambda: psycopg.connect(url, options=f"-c lock_timeout={LOCK_TIMEOUT_S}s"),
        poolclass=sa.NullPool,
    )


def _sqlite_engine(url: str) -> sa.Engine:
    path = sqlite_path(url)
    path.parent.mkdir(parents=True, exist_ok=True)

    def connect() -> sqlite3.Connection:
        connection = sqlite3.connect(path, timeout=LOCK_TIMEOUT_S, isolation_level=None)
        _write_ahead(connection)
        return connection

    engine = sa.create_engine("sqlite://", creator=connect, poolclass=sa.NullPool)
    sa.event.listen(engine, "begin", lambda connection: connection.exec_driver_sql("BEGIN IMMEDIATE"))
    return engine


def _write_ahead(connection: sqlite3.Connection) -> None:
    """The mode stays with the file. SQLite does not wait for others who are switching a new file just now."""
    deadline = time.monotonic() + LOCK_TIMEOUT_S
    while True:
        try:
            connection.execute("PRAGMA journal_mode = WAL")
        except sqlite3.OperationalError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.005)
        else:
            return
