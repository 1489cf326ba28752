"""The read database: SQLite in WAL mode or PostgreSQL, behind one shape.

Opened by the composition root and by `kasal projections`. Its one rule: both databases do the same.
Statements are plain SQL that both understand, with `:name` for parameters.
"""

from __future__ import annotations

from domain.errors import Invalid
from projections.database.shape import Damaged, ReadDatabase, RowRefused, Session, Snapshot
from projections.database.sqlite import SqliteReadDatabase

SQLITE = "sqlite:///"


async def open_read_database(url: str) -> ReadDatabase:
    """The read tables at `sqlite:///path` or `postgresql://…`; they need not exist yet, nor the server be up.

    Raises `Invalid` for any other URL.
    """
    if url.startswith(("postgresql://", "postgres://")):
        from projections.database.postgres import PostgresReadDatabase  # psycopg loads where it is used

        return PostgresReadDatabase(url)
    path = url.removeprefix(SQLITE)
    if not url.startswith(SQLITE) or not path or path.startswith(":"):
        raise Invalid("read tables are at sqlite:///path or postgresql://…")
    return SqliteReadDatabase(path)


__all__ = ["Damaged", "ReadDatabase", "RowRefused", "Session", "Snapshot", "open_read_database"]
