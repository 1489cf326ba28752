"""Opens the log that a URL names. Called by the composition root and by tests.

Its one rule: a driver is loaded where its database is used; psycopg takes a tenth of a start on SQLite.
"""

from __future__ import annotations

from application.audit.ports import AuditStore
from application.log_port import SealableLog
from domain.errors import Invalid, LogUnavailable
from infrastructure.event_log.audit_sqlite import SqliteAuditStore
from infrastructure.event_log.memory import MemoryEventLog
from infrastructure.event_log.sqlite import SqliteEventLog
from infrastructure.event_log.urls import is_memory, is_postgres, is_sqlite, sqlite_path

QUEUE_LIMIT = 4096


async def open_event_log(url: str, *, queue_limit: int = QUEUE_LIMIT) -> SealableLog:
    """The log at `sqlite:///path`, `postgresql://…` or `memory:`, whose tables `schema.migrate` has made.

    queue_limit   commands that may wait for the database before `append` raises `LogFull`

    Raises `Invalid` for any other URL and `LogUnavailable` when the log can not be read.
    """
    if is_memory(url):
        return MemoryEventLog()
    if is_sqlite(url):
        return await _readable(SqliteEventLog(sqlite_path(url), queue_limit))
    if is_postgres(url):
        from infrastructure.event_log.postgres import PostgresEventLog

        return await _readable(PostgresEventLog(url, queue_limit))
    raise Invalid("an event log is at sqlite:///path, postgresql://… or memory:")


def open_audit_store(url: str) -> AuditStore:
    """The audit's view of the log at a URL, which need not be up yet. Raises `Invalid` for any other URL."""
    if is_sqlite(url):
        return SqliteAuditStore(sqlite_path(url))
    if is_postgres(url):
        from infrastructure.event_log.audit_postgres import PostgresAuditStore

        return PostgresAuditStore(url)
    raise Invalid("a log that is audited is at sqlite:///path or postgresql://…")


async def _readable(log: SealableLog) -> SealableLog:
    try:
        await log.head()
    except LogUnavailable as error:
        await log.close()
        raise LogUnavailable(f"{error}\nIf it was never set up, run `kasal migrate`.") from error
    return log
