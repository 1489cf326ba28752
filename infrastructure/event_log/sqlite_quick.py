"""The appender's quick way into SQLite: a whole batch in one statement, which is its own transaction.

Called by the SQLite writer for a batch that nothing speaks against. Each statement that Python gives to
SQLite lets go of the interpreter's lock and has to get it back from a busy event loop; here that is done
once, and the disk is waited for meanwhile. Its one rule: the statement checks itself what the batch rests on,
and where that does not hold, nothing was written.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Sequence
from functools import cache
from typing import TypeAlias

from application.ports import Append, Appended
from infrastructure.event_log.rows import CONTENT_COLUMNS, encode_metadata

MAX_ROWS = 512
"""Seven values each; SQLite takes at least 32,766 in a statement."""

HEAD, GUARD, EVENT, RECORD, CONTENT, KEY = range(6)

Row: TypeAlias = tuple[int | None, int | None, str | None, int | None, str | None, bytes | None, str | None]

NOTHING: Row = (None,) * 7

PREPARE = f"""
CREATE TEMP VIEW kasal_flush (kind, position, stream, version, topic, state, metadata) AS
    SELECT NULL, NULL, NULL, NULL, NULL, NULL, NULL;
CREATE TEMP TRIGGER kasal_flush_head INSTEAD OF INSERT ON kasal_flush WHEN NEW.kind = {HEAD} BEGIN
    SELECT RAISE(ABORT, 'the log moved') FROM kasal_head WHERE position <> NEW.position;
    UPDATE kasal_head SET position = position + NEW.version;
END;
CREATE TEMP TRIGGER kasal_flush_guard INSTEAD OF INSERT ON kasal_flush WHEN NEW.kind = {GUARD} BEGIN
    SELECT RAISE(ABORT, 'conflict') WHERE NEW.version <> coalesce(
        (SELECT max(originator_version) FROM kasal_events WHERE originator_id = NEW.stream), 0);
END;
CREATE TEMP TRIGGER kasal_flush_event INSTEAD OF INSERT ON kasal_flush WHEN NEW.kind = {EVENT} BEGIN
    INSERT INTO kasal_events (notification_id, originator_id, originator_version, topic, state, metadata)
    VALUES (NEW.position, NEW.stream, NEW.version, NEW.topic, NEW.state, NEW.metadata);
END;
CREATE TEMP TRIGGER kasal_flush_record INSTEAD OF INSERT ON kasal_flush WHEN NEW.kind = {RECORD} BEGIN
    INSERT INTO kasal_commands (key, request_hash, command_id, response, version, position)
    VALUES (NEW.stream, NEW.topic, NEW.metadata, NEW.state, NEW.version, NEW.position);
END;
CREATE TEMP TRIGGER kasal_flush_content INSTEAD OF INSERT ON kasal_flush WHEN NEW.kind = {CONTENT} BEGIN
    INSERT OR IGNORE INTO kasal_contents ({CONTENT_COLUMNS})
    VALUES (NEW.metadata, NEW.stream, NEW.topic, NEW.position, NEW.version, NEW.state);
END;
CREATE TEMP TRIGGER kasal_flush_key INSTEAD OF INSERT ON kasal_flush WHEN NEW.kind = {KEY} BEGIN
    INSERT INTO kasal_keys (stream, wrapping, wrapped) VALUES (NEW.stream, NEW.topic, NEW.state);
END;
"""  # noqa: S608 - constants only
"""A record's key, request hash, command id and response stand where an event has its stream, topic, metadata
and state; a content's owner, digest, tenant, part's number, whole size and body where an event has its
stream, topic, metadata, position, version and state."""


class Unsuited(Exception):
    """The batch has to be decided command by command; nothing was written."""


class QuickFlush:
    """A batch as the statement's values: made on the event loop, so that the thread only executes."""

    def __init__(self, batch: Sequence[Append], head: int) -> None:
        """head: where the log was when this process last saw it. Raises `Unsuited`."""
        if any(append.erases for append in batch):
            raise Unsuited
        self.outcomes = positions_of(batch, head)
        rows = list(_rows(batch, self.outcomes, head))
        if len(rows) > MAX_ROWS:
            raise Unsuited
        padded = 1 << (len(rows) - 1).bit_length()
        self._statement = _insert(padded)
        self._values = [value for row in rows for value in row]
        self._values += NOTHING * (padded - len(rows))

    def store(self, connection: sqlite3.Connection) -> Sequence[Appended]:
        """The outcomes, if every command stands as it expects to.

        On a connection with `PREPARE`, outside of a transaction. Raises `Unsuited`, and `sqlite3.Error` for
        what a batch can not help.
        """
        try:
            connection.execute(self._statement, self._values)
        except sqlite3.IntegrityError as error:
            raise Unsuited from error
        return self.outcomes


def positions_of(batch: Sequence[Append], head: int) -> list[Appended]:
    """Where the commands land if none is refused."""
    return [
        Appended(append.expected_version + len(append.events), head := head + len(append.events))
        for append in batch
    ]


def _rows(batch: Sequence[Append], outcomes: Sequence[Appended], head: int) -> Iterator[Row]:
    yield (HEAD, head, None, outcomes[-1].position - head, None, None, None)
    position = head
    for append, outcome in zip(batch, outcomes, strict=True):
        for stream, version in rests_on(append):
            yield (GUARD, None, stream, version, None, None, None)
        for version, event in enumerate(append.events, append.expected_version + 1):
            position += 1
            metadata = encode_metadata(event.metadata).decode()
            yield (EVENT, position, append.stream, version, event.tag, event.body, metadata)
        if (key := append.key) is not None:
            yield (KEY, None, key.stream, None, key.wrapping, key.wrapped, None)
        for part in append.contents:
            yield (CONTENT, part.number, part.owner, part.total_bytes, part.digest, part.body, part.tenant)
        if (record := append.record) is not None:
            hashed, command = record.request_hash, record.command_id
            yield (RECORD, position, record.key, outcome.version, hashed, record.response, command)


def rests_on(append: Append) -> Sequence[tuple[str, int]]:
    """What has to be looked up. That a stream is not there yet shows when its first event is inserted."""
    return (
        (*append.guards, (append.stream, append.expected_version))
        if append.expected_version
        else append.guards
    )


@cache
def _insert(count: int) -> str:
    return "INSERT INTO kasal_flush VALUES " + ", ".join(["(?, ?, ?, ?, ?, ?, ?)"] * count)  # noqa: S608 - constants only
