"""Forgets idempotency keys that came before a moment, beside a running system.

Called by `kasal cleanup`. Its one rule: a page at a time in the order of the keys, each in a
transaction of its own, so that no append waits longer than for any other one.
"""

from __future__ import annotations

import asyncio
import sqlite3
from datetime import UTC, datetime
from pathlib import Path

import psycopg

from domain.errors import LogUnavailable
from infrastructure.event_log.postgres_connections import connect as connect_postgres
from infrastructure.event_log.sqlite_connections import connect as connect_sqlite
from infrastructure.event_log.urls import is_memory, is_sqlite, sqlite_path

PAGE = 500
PATIENCE_MS = 30_000
"""How long a page waits for its turn."""

PAGE_END = """
    SELECT max(key) FROM (SELECT key FROM kasal_commands WHERE key > {0} ORDER BY key LIMIT {0}) AS page
"""
FORGET = "DELETE FROM kasal_commands WHERE key > {0} AND key <= {0} AND at < {0}"


async def forget_idempotency_keys(url: str, before: datetime) -> int:
    """How many. before: with a zone. Raises `LogUnavailable`."""
    if is_memory(url):
        return 0
    try:
        if is_sqlite(url):
            return await asyncio.to_thread(_forget_in_file, sqlite_path(url), before)
        return await _forget_in_postgres(url, before)
    except (sqlite3.Error, psycopg.Error) as error:
        raise LogUnavailable(f"the event log's database refused: {error}") from error


def _forget_in_file(path: Path, before: datetime) -> int:
    connection = connect_sqlite(path)
    try:
        connection.execute(f"PRAGMA busy_timeout = {PATIENCE_MS}")
        moment, after, count = before.astimezone(UTC).strftime("%Y-%m-%d %H:%M:%S"), "", 0
        page_end, forget = PAGE_END.format("?"), FORGET.format("?")
        while (end := connection.execute(page_end, (after, PAGE)).fetchone()[0]) is not None:
            count += connection.execute(forget, (after, end, moment)).rowcount
            after = end
        return count
    finally:
        connection.close()


async def _forget_in_postgres(url: str, before: datetime) -> int:
    async with await connect_postgres(url) as connection:
        after, count = "", 0
        while True:
            found = await (await connection.execute(PAGE_END.format("%s"), (after, PAGE))).fetchone()
            if found is None or found[0] is None:
                return count
            end = str(found[0])
            count += (await connection.execute(FORGET.format("%s"), (after, end, before))).rowcount
            after = end
