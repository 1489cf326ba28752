"""The port of the event log. Adapters: memory, SQLite, PostgreSQL in `infrastructure/event_log/`.

Imported by `application.ports`, from where everybody has it. Its one rule: an append is all or nothing, and
what was answered is durable.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import msgspec

from application.contents import ContentStore, StoredPart
from domain.message import Metadata, Recorded

MAX_EVENT_BYTES = 256 * 1024
"""An event body above this is refused with `TooLarge`; large content goes to the content store."""


class NewEvent(msgspec.Struct, frozen=True):
    """An event on its way into the log: tag, JSON body, metadata; the log gives it version and position."""

    tag: str
    body: bytes
    metadata: Metadata


class CommandRecord(msgspec.Struct, frozen=True, kw_only=True):
    """What a command that came with an idempotency key did; committed in the same transaction as its events.

    key           the caller's key, already scoped: "<tenant>:<method> <path>:<key>"
    request_hash  SHA-256 (hex) of the request, to tell a repeat from a reuse
    response      the stream that the command changed; the log fills `version` and `position` beside it
    """

    key: str
    request_hash: str
    command_id: str
    response: bytes = b""
    version: int = 0
    position: int = 0


class StoredKey(msgspec.Struct, frozen=True):
    """The key that a stream's contents are sealed with, as it is stored.

    wrapping  the id of the key that it is wrapped by
    wrapped   b"" after the stream was erased
    """

    stream: str
    wrapping: str
    wrapped: bytes


class Append(msgspec.Struct, frozen=True, kw_only=True):
    """One command's effect: all or nothing.

    stream, expected_version  the stream and the version it must be at (0: it must not exist)
    events                    at least one
    guards                    other streams that the decision rests on, and the version each must still be at
    record                    stored with the events when the caller gave an idempotency key
    contents                  stored with the events that name them; one that is there is left as it is
    key                       of a stream that begins with these events, stored with them
    is_sealed                 the events were measured before they were sealed
    erases                    with these events the stream's key and contents are destroyed
    """

    stream: str
    expected_version: int
    events: tuple[NewEvent, ...]
    guards: tuple[tuple[str, int], ...] = ()
    record: CommandRecord | None = None
    contents: tuple[StoredPart, ...] = ()
    key: StoredKey | None = None
    is_sealed: bool = False
    erases: bool = False


class Appended(msgspec.Struct, frozen=True):
    """Where the last event of an append landed."""

    version: int
    position: int


class Replayed(Exception):
    """The append's idempotency key is already stored: nothing was appended, `record` is what was done then.

    Not an error of the tree: the caller of `append` compares `request_hash` and answers what was answered.
    """

    def __init__(self, record: CommandRecord) -> None:
        super().__init__(record.key)
        self.record = record


class EventLog(ContentStore, Protocol):
    """The one truth. Positions 1..n without a hole, in commit order; acknowledged means durable."""

    async def append(self, append: Append) -> Appended:
        """Commit one command's events, in a group with whatever else waits.

        Raises `Conflict` (the stream or a guard moved), `Replayed`, `TooLarge`, `LogFull`, `LogUnavailable`.
        A lost connection is resolved by looking for the command's own events before it is tried again.
        """
        ...

    async def read_stream(self, stream: str, after_version: int = 0) -> Sequence[Recorded]:
        """The events of one stream beyond a version, in order; () when there are none."""
        ...

    async def version_of(self, stream: str) -> int:
        """That of the stream's last event; 0 where there is none."""
        ...

    async def read_all(self, after_position: int, limit: int) -> Sequence[Recorded]:
        """The next events of the whole log, in position order, at most `limit`."""
        ...

    async def head(self) -> int:
        """The last position; 0 for an empty log."""
        ...

    async def command_record(self, key: str) -> CommandRecord | None:
        """What was stored under an idempotency key."""
        ...

    async def wait_beyond(self, position: int, timeout_s: float) -> None:
        """Return as soon as the log may hold more than `position`, or after `timeout_s`."""
        ...

    async def close(self) -> None:
        """Flush what is queued, then let go of every connection and thread."""
        ...


class KeyStore(Protocol):
    """Keys of streams, in the database of the log; each comes with its stream's first event."""

    async def keys(self, streams: Sequence[str]) -> Sequence[StoredKey]:
        """Those that there are, in any order. Raises `LogUnavailable`."""
        ...

    async def put_key(self, key: StoredKey) -> None:
        """Of a stream that is about to be imported; one that is there is left as it is."""
        ...

    async def keys_after(self, stream: str, limit: int) -> Sequence[StoredKey]:
        """The next keys, by the names of their streams."""
        ...

    async def rewrap(self, before: StoredKey, now: StoredKey) -> None:
        """Store a key as it is wrapped now, unless it was changed or destroyed meanwhile."""
        ...


class SealableLog(EventLog, KeyStore, Protocol):
    """A log as its adapters offer it: it stores what it is given."""
