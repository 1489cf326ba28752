"""A log with a tree over it, and hands that change its tables behind its back."""

from __future__ import annotations

import sqlite3
from collections.abc import AsyncIterator, Sequence
from contextlib import closing
from itertools import count

import psycopg
import pytest

from application.audit.keeping import Keeper
from application.audit.ports import AuditStore
from application.ports import EventLog
from infrastructure.audit_keys import PublicKeys, SigningKey
from infrastructure.clock import SystemClock
from infrastructure.event_log.opening import open_audit_store
from infrastructure.event_log.urls import is_sqlite, sqlite_path
from tests.contracts.event_log_commands import a_command

KEY = SigningKey.generate("kasal/test")
KEYS = PublicKeys([KEY.public])
SIZES = (3, 300, 512, 700, 1_000)
_streams = count(1)


@pytest.fixture
async def store(event_log_url: str) -> AsyncIterator[AuditStore]:
    store = open_audit_store(event_log_url)
    yield store
    await store.close()


@pytest.fixture
async def log(event_log: EventLog, store: AuditStore) -> EventLog:
    """1,000 events under checkpoints of five sizes, and ten that none has yet."""
    await audited(event_log, store, SIZES)
    await grow(event_log, 10)
    return event_log


async def grow(log: EventLog, events: int) -> str:
    """Events of one new stream, its name."""
    stream = f"execution-{next(_streams)}"
    for begin in range(0, events, 500):
        await log.append(a_command(stream, at=begin, events=min(500, events - begin)))
    return stream


async def checkpoint(store: AuditStore, *, key: SigningKey = KEY) -> Keeper:
    """The tree brought up to the log, and signed."""
    keeper = await Keeper.of(store, key, SystemClock())
    while await keeper.extend(10_000):
        pass
    assert await keeper.sign()
    return keeper


async def audited(log: EventLog, store: AuditStore, sizes: Sequence[int]) -> None:
    """A log with a checkpoint at each of the sizes."""
    size = 0
    for next_size in sizes:
        await grow(log, next_size - size)
        await checkpoint(store)
        size = next_size


def tamper(url: str, *statements: str) -> None:
    """As an administrator could."""
    if is_sqlite(url):
        with closing(sqlite3.connect(sqlite_path(url))) as connection, connection:
            for statement in statements:
                connection.execute(statement)
        return
    with psycopg.connect(url) as server:
        for statement in statements:
            server.execute(statement.encode())
