"""Fixtures that every test may ask for. PostgreSQL starts once a session, on the first test that needs it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.servers import postgres_database, postgres_server


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
