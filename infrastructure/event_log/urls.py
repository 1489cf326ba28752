"""What the URL of a log says: `sqlite:///relative/path`, `sqlite:////absolute/path`, `postgresql://…`,
`memory:`.
"""

from __future__ import annotations

import sqlite3
from pathlib import Path

from domain.errors import Invalid

_SQLITE = "sqlite:///"


def is_memory(url: str) -> bool:
    return url == "memory:"


def is_sqlite(url: str) -> bool:
    return url.startswith(_SQLITE)


def is_postgres(url: str) -> bool:
    return url.startswith(("postgresql://", "postgres://"))


def sqlite_path(url: str) -> Path:
    """The file of a SQLite URL. Raises `Invalid` when it names none."""
    name = url.removeprefix(_SQLITE)
    if not name or name.startswith(":"):
        raise Invalid(f"{url!r} names no file; write sqlite:///path/to/log.db")
    return Path(name)


def driver_errors(url: str) -> type[Exception]:
    """What the driver of a log's database raises."""
    if is_postgres(url):
        import psycopg

        return psycopg.Error
    return sqlite3.Error
