"""The durable tables: made once, by whoever comes first, the same on both databases."""

from __future__ import annotations

import multiprocessing
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from pathlib import Path

import psycopg
import pytest
import sqlalchemy as sa
from alembic.script import ScriptDirectory

from domain.errors import LogUnavailable
from infrastructure.event_log.migrating import configuration
from infrastructure.event_log.schema import VERSIONS, _state, _transaction, migrate, schema_state
from infrastructure.event_log.urls import is_sqlite, sqlite_path

TABLES = {
    "kasal_events": ["notification_id", "originator_id", "originator_version", "topic", "state", "metadata"],
    "kasal_head": ["id", "position"],
    "kasal_commands": ["key", "request_hash", "command_id", "response", "version", "position", "at"],
    "kasal_contents": ["digest", "owner", "number", "tenant", "total_bytes", "body"],
    "kasal_tiles": ["level", "number", "hashes"],
    "kasal_checkpoints": ["size", "note"],
    "kasal_keys": ["stream", "wrapping", "wrapped"],
    "kasal_schema": ["version_num"],
}


@pytest.fixture(params=["sqlite_url", "postgres_url"])
def url(request: pytest.FixtureRequest) -> str:
    """An empty database."""
    url: str = request.getfixturevalue(request.param)
    return url


@contextmanager
def connection(url: str) -> Iterator[sa.Connection]:
    if is_sqlite(url):
        engine = sa.create_engine(f"sqlite:///{sqlite_path(url)}", poolclass=sa.NullPool)
    else:
        engine = sa.create_engine(
            "postgresql+psycopg://", creator=lambda: psycopg.connect(url), poolclass=sa.NullPool
        )
    with engine.begin() as connection:
        yield connection


def test_scripts_are_named_by_the_versions_that_they_make() -> None:
    scripts = ScriptDirectory.from_config(configuration())
    assert [script.revision for script in scripts.walk_revisions()] == VERSIONS[::-1]
    assert scripts.get_current_head() == VERSIONS[-1]


def test_a_process_that_finds_current_tables_does_without_alembic(url: str) -> None:
    migrate(url)
    program = "import sys; from infrastructure.event_log.schema import *; migrate(sys.argv[1])"
    program += "; print(schema_state(sys.argv[1]), 'alembic' in sys.modules)"
    found = subprocess.run([sys.executable, "-c", program, url], check=True, capture_output=True, text=True)
    assert found.stdout.split() == ["current", "False"]


def test_an_empty_database_becomes_current(url: str) -> None:
    assert schema_state(url) == "empty"
    migrate(url)
    assert schema_state(url) == "current"


def test_asking_for_the_state_makes_no_file(sqlite_url: str) -> None:
    assert schema_state(sqlite_url) == "empty"
    assert not sqlite_path(sqlite_url).exists()


def test_migrating_again_changes_nothing(url: str) -> None:
    migrate(url)
    with connection(url) as c:
        c.execute(sa.text("UPDATE kasal_head SET position = 7"))
    migrate(url)
    with connection(url) as c:
        assert c.execute(sa.text("SELECT id, position FROM kasal_head")).all() == [(1, 7)]


def test_both_databases_have_the_same_tables(url: str) -> None:
    migrate(url)
    with connection(url) as c:
        inspector = sa.inspect(c)
        assert {t: [column["name"] for column in inspector.get_columns(t)] for t in TABLES} == TABLES
        assert set(inspector.get_table_names()) == set(TABLES)


def test_processes_that_migrate_at_once_agree(url: str) -> None:
    context = multiprocessing.get_context("spawn")
    processes = [context.Process(target=migrate, args=(url,)) for _ in range(4)]
    for process in processes:
        process.start()
    for process in processes:
        process.join(60)
    assert [process.exitcode for process in processes] == [0] * 4
    assert schema_state(url) == "current"


def test_threads_that_migrate_new_files_at_once_agree(tmp_path: Path) -> None:
    for number in range(60):
        url = f"sqlite:///{tmp_path}/{number}.db"
        with ThreadPoolExecutor(6) as threads:
            connections = [threads.submit(_touch, url) for _ in range(6)]
        assert [future.result() for future in connections] == ["empty"] * 6


def _touch(url: str) -> str:
    with _transaction(url) as c:
        return _state(c)


def test_a_migration_that_fails_leaves_nothing(url: str) -> None:
    with connection(url) as c:
        c.execute(sa.text("CREATE TABLE kasal_commands (key TEXT)"))
    with pytest.raises(LogUnavailable, match="kasal_commands"):
        migrate(url)
    assert schema_state(url) == "empty"
    with connection(url) as c:
        assert sa.inspect(c).get_table_names() == ["kasal_commands"]
        c.execute(sa.text("DROP TABLE kasal_commands"))
    migrate(url)
    assert schema_state(url) == "current"


def test_a_log_of_a_newer_release_is_not_touched(url: str) -> None:
    migrate(url)
    with connection(url) as c:
        c.execute(sa.text("UPDATE kasal_schema SET version_num = '9999'"))
    with pytest.raises(LogUnavailable, match="newer release"):
        schema_state(url)
    with pytest.raises(LogUnavailable, match="newer release"):
        migrate(url)


def test_a_log_in_memory_needs_no_tables() -> None:
    migrate("memory:")
    assert schema_state("memory:") == "current"


def test_a_database_that_is_not_there_is_unavailable() -> None:
    with pytest.raises(LogUnavailable):
        migrate("postgresql://postgres@127.0.0.1:1/kasal")


def test_a_locked_file_is_waited_for(sqlite_url: str) -> None:
    migrate(sqlite_url)
    with closing(sqlite3.connect(sqlite_path(sqlite_url), isolation_level=None)) as reader:
        reader.execute("BEGIN")
        reader.execute("SELECT * FROM kasal_head").fetchall()
        migrate(sqlite_url)
