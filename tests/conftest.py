"""Fixtures that every test may ask for. PostgreSQL starts once a session, on the first test that needs it."""

from __future__ import annotations

import os
import sys
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from application.ports import EventLog
from infrastructure.event_log.opening import open_event_log
from infrastructure.event_log.schema import migrate
from tests.servers import postgres_database, postgres_server

pytest_plugins = ["tests.nats_servers"]


ENDED = pytest.StashKey[int]()


def pytest_sessionfinish(session: pytest.Session, exitstatus: int) -> None:
    session.config.stash[ENDED] = int(exitstatus)


@pytest.hookimpl(trylast=True)
def pytest_unconfigure(config: pytest.Config) -> None:
    """A process that loaded CrewAI ends as a runner does: at once, whatever its threads still wait for."""
    if "crewai" in sys.modules and ENDED in config.stash:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(config.stash[ENDED])


@pytest.fixture(scope="session")
def postgres_server_url() -> Iterator[str]:
    """A running PostgreSQL server on which databases may be made."""
    with postgres_server() as url:
        yield url


@pytest.fixture
def postgres_url(postgres_server_url: str) -> Iterator[str]:
    """A fresh, empty database; dropped after the test."""
    with postgres_database(postgres_server_url) as url:
        yield url


@pytest.fixture
def sqlite_url(tmp_path: Path) -> str:
    """A SQLite file that is not there yet."""
    return f"sqlite:///{tmp_path / 'log.db'}"


@pytest.fixture(params=["sqlite", "postgresql"])
def event_log_url(request: pytest.FixtureRequest) -> str:
    """An empty log, its tables made, on each database in turn."""
    fixture = {"sqlite": "sqlite_url", "postgresql": "postgres_url"}[request.param]
    url: str = request.getfixturevalue(fixture)
    migrate(url)
    return url


@pytest.fixture
async def event_log(event_log_url: str) -> AsyncIterator[EventLog]:
    """The log at `event_log_url`, open."""
    log = await open_event_log(event_log_url)
    yield log
    await log.close()
