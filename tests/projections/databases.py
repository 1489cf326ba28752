"""Read databases for tests, SQLite and PostgreSQL in turn, and projectors that run beside a test.

Used by the tests of the engine and of the read models; `read_url` and `read_db` are fixtures.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager, suppress
from functools import partial
from pathlib import Path

import pytest

from projections.advance import Build
from projections.building import prepare
from projections.database import ReadDatabase, open_read_database
from projections.engine import Feed, project
from projections.execution_list import EXECUTION_LIST
from projections.operations import list_projections
from projections.projection import Projection
from projections.projector import Projector
from projections.workflow_list import WORKFLOW_LIST
from tests.projections.histories import History
from tests.servers import postgres_database

TWO = (EXECUTION_LIST, WORKFLOW_LIST)


@pytest.fixture(params=["sqlite", "postgresql"])
def read_url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """Where read tables can be made, on either database."""
    if request.param == "sqlite":
        yield f"sqlite:///{tmp_path / 'read.db'}"
        return
    with postgres_database(request.getfixturevalue("postgres_server_url")) as url:
        yield url


@pytest.fixture
async def read_db(read_url: str) -> AsyncIterator[ReadDatabase]:
    async with opened(read_url) as read_db:
        yield read_db


@asynccontextmanager
async def opened(url: str) -> AsyncIterator[ReadDatabase]:
    read_db = await open_read_database(url)
    try:
        yield read_db
    finally:
        await read_db.close()


@asynccontextmanager
async def projecting(
    projections: Sequence[Projection], history: History, feed: Feed, read_db: ReadDatabase
) -> AsyncIterator[None]:
    """A projector beside the test."""
    task = asyncio.create_task(project(projections, history, feed, read_db))
    try:
        yield
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task


async def builds_of(read_db: ReadDatabase, projections: Sequence[Projection]) -> list[Build]:
    return await read_db.write(partial(prepare, projections=projections))


async def caught_up(
    read_db: ReadDatabase, projections: Sequence[Projection], history: History, to: int | None = None
) -> list[Build]:
    """Builds that hold a history, or its beginning."""
    builds = await builds_of(read_db, projections)
    target = len(history.events) if to is None else to
    await Projector(read_db, history).catch_up(builds, target)
    return builds


async def lag(read_db: ReadDatabase, history: History) -> int:
    lags = [status.lag for status in await list_projections(read_db, history)]
    return max(lags, default=len(history.events))


async def statuses(read_db: ReadDatabase, history: History) -> dict[str, str]:
    return {status.name: status.status for status in await list_projections(read_db, history)}


async def lag_is_zero(read_db: ReadDatabase, history: History) -> bool:
    return await lag(read_db, history) == 0
