"""A small batch straight from the event loop, where the disk is quick and nobody else is writing.

Called by the SQLite writer before its thread. A commit on a quick disk takes a quarter of a millisecond, as
long as it takes to wake a thread and be woken by it. Its one rule: it never waits. Where it would have to, or
has just taken long, the batch goes to the thread.
"""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Sequence
from pathlib import Path

from application.ports import Appended
from infrastructure.event_log.sqlite_connections import connect
from infrastructure.event_log.sqlite_quick import PREPARE, QuickFlush

MAX_COMMANDS = 4

SLOW_S = 0.002
"""A batch that took longer held up everything else; the thread has the next ones."""

REST_S = 1.0

IN_A_ROW = 200
"""Then one goes to the thread, whose commit moves what stands in the write-ahead file to its place: some
megabytes, which the event loop does not wait for."""


class InlineFlush:
    """Of one file. Makes its connection when it is first used."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._connection: sqlite3.Connection | None = None
        self._not_before = 0.0
        self._in_a_row = 0

    def store(self, batch: QuickFlush) -> Sequence[Appended]:
        """The outcomes; () when the thread has to do it. Raises what `QuickFlush.store` raises."""
        began = time.monotonic()
        if len(batch.outcomes) > MAX_COMMANDS or began < self._not_before or self._in_a_row == IN_A_ROW:
            self._in_a_row = 0
            return ()
        self._in_a_row += 1
        try:
            return batch.store(self._connected())
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode & 0xFF != sqlite3.SQLITE_BUSY:
                raise
            self._not_before = began + SLOW_S
            return ()
        finally:
            if time.monotonic() - began > SLOW_S:
                self._not_before = began + REST_S

    def close(self) -> None:
        self._not_before = float("inf")
        if self._connection is not None:
            self._connection.close()

    def _connected(self) -> sqlite3.Connection:
        if self._connection is None:
            self._connection = connect(self._path)
            self._connection.executescript(
                f"PRAGMA busy_timeout = 0; PRAGMA wal_autocheckpoint = 0; {PREPARE}"
            )
        return self._connection
