"""Erasure over HTTP on both databases: what no table holds afterwards, and what is refused."""

from __future__ import annotations

import sqlite3
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import msgspec
import psycopg
import pytest

from application.contents import parts_of
from application.journals import past_of_step
from domain.errors import NotFound
from domain.execution import (
    CancelExecution,
    Content,
    Failure,
    Progress,
    RecordProgress,
    StartStep,
    ToolCallCompleted,
    ToolCallFailed,
    ToolCallStarted,
)
from infrastructure.nats.memory import MemoryFeed
from tests.interfaces.stack import SYSTEM, Stack, running
from tests.projections.runners import content
from tests.servers import postgres_database
from tests.waiting import eventually

WORDS = ("powidl", "marille", "topfen", "kipferl", "zwetschge")
ARGUMENTS, RESULT, MESSAGE, LARGE, INPUT = WORDS


@pytest.fixture(params=["sqlite", "postgresql"])
def database(request: pytest.FixtureRequest) -> Iterator[str]:
    if request.param == "sqlite":
        yield ""
        return
    with postgres_database(request.getfixturevalue("postgres_server_url")) as url:
        yield url


@pytest.fixture
async def stack(tmp_path: Path, database: str) -> AsyncIterator[Stack]:
    async with running(tmp_path, MemoryFeed(), database=database) as stack:
        yield stack


async def said(stack: Stack) -> str:
    """An execution in whose calls every word was said; it has ended."""
    started = await stack.execution(inputs={"industry": INPUT})
    execution_id = str(started["id"])
    await stack.commands.handle(
        StartStep(execution_id=execution_id, step="crew", turn=1, delivery=1, runner="r"), SYSTEM
    )
    (part,) = parts_of(LARGE * 2_000)
    large = Content(part.digest, part.total_bytes, LARGE, is_truncated=True, is_stored=True)
    at = {"step": "crew", "attempt": 1, "task": "research"}
    entries: tuple[Progress, ...] = (
        ToolCallStarted(**at, call="1", tool="http_get", arguments=content(ARGUMENTS)),  # type: ignore[arg-type]
        ToolCallCompleted(**at, call="1", tool="http_get", result=content(RESULT), duration_ms=1),  # type: ignore[arg-type]
        ToolCallStarted(**at, call="2", tool="http_get", arguments=large),  # type: ignore[arg-type]
        ToolCallFailed(**at, call="2", tool="http_get", failure=Failure("f", MESSAGE), duration_ms=1),  # type: ignore[arg-type]
    )
    report = RecordProgress(execution_id=execution_id, step="crew", attempt=1, after=0, entries=entries)
    await stack.commands.handle(report, msgspec.structs.replace(SYSTEM, contents=(part,)))
    await stack.commands.handle(CancelExecution(execution_id=execution_id), SYSTEM)
    return execution_id


def held(stack_folder: Path, database: str) -> set[str]:
    """The words that any row of any table holds."""
    found = set[str]()
    for values in rows_of(stack_folder, database):
        for value in values:
            body = bytes(value) if isinstance(value, bytes | memoryview) else str(value).encode()
            found |= {word for word in WORDS if word.encode() in body}
    return found


def rows_of(folder: Path, database: str) -> Iterator[tuple[object, ...]]:
    if database:
        with psycopg.connect(database) as connection:
            names = connection.execute(
                "SELECT tablename FROM pg_tables WHERE schemaname = 'public'"
            ).fetchall()
            for (name,) in names:
                yield from connection.execute(f'SELECT * FROM "{name}"'.encode()).fetchall()
        return
    for path in (folder / "log.db", folder / "read.db"):
        with sqlite3.connect(path) as connection:
            names = connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'").fetchall()
            for (name,) in names:
                yield from connection.execute(f'SELECT * FROM "{name}"').fetchall()


async def test_no_table_holds_what_was_said(stack: Stack, tmp_path: Path, database: str) -> None:
    execution_id = await said(stack)
    path = f"/v1/executions/{execution_id}"

    async def holds(words: set[str]) -> bool:
        return held(tmp_path, database) == words

    await eventually(lambda: holds(set(WORDS)))
    answer = await stack.client.post(f"{path}/erase", json={"reason": "asked"}, headers={"Prefer": "wait=10"})
    assert (answer.status_code, answer.json()["status"]) == (202, "CANCELLED")
    assert (await stack.client.get(path)).json()["erased_at"]
    await eventually(lambda: holds(set()))
    for message in await stack.log.read_stream(f"execution-{execution_id}"):
        assert not [word for word in WORDS if word.encode() in message.body]
    again = await stack.client.post(f"{path}/erase", json={})
    assert again.json()["version"] == answer.json()["version"]


async def test_what_is_under_way_or_unknown_is_not_erased(stack: Stack) -> None:
    started = await stack.execution()
    refused = await stack.client.post(f"/v1/executions/{started['id']}/erase", json={})
    assert (refused.status_code, "cancel it first" in refused.json()["detail"]) == (409, True)
    missing = await stack.client.post("/v1/executions/0190-nobody/erase", json={})
    assert missing.status_code == 404


async def test_an_erased_execution_is_no_past_for_others(stack: Stack) -> None:
    execution_id = await said(stack)
    fork = await stack.client.post(f"/v1/executions/{execution_id}/fork", json={})
    assert fork.status_code == 201, fork.text
    assert (await stack.client.post(f"/v1/executions/{execution_id}/erase", json={})).status_code == 202
    for what in ("fork", "what-if", "retry"):
        refused = await stack.client.post(f"/v1/executions/{execution_id}/{what}", json={})
        assert (refused.status_code, "erased" in refused.json()["detail"]) == (409, True), what
    with pytest.raises(NotFound, match="was erased"):
        await past_of_step(stack.log, fork.json()["id"], "crew")
