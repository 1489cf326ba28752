"""What becomes of a command: the rule of the log, apart from every database.

Called by the memory and SQLite adapters; PostgreSQL has the same rule in
`migrations/versions/v0001_append.sql`, and the contract suite holds the three equal. Its one rule: a command
is decided on the effects of those before it, never on the batch it came in.
"""

from __future__ import annotations

from collections.abc import Iterable

import msgspec

from application.ports import MAX_EVENT_BYTES, Append, Appended, CommandRecord, Replayed
from domain.errors import Conflict, Invalid, TooLarge

MAX_NAME_BYTES = 1024
"""Of a stream, a tag, a key: what the indexes of both databases hold."""

MAX_VERSION = 2**63 - 1

Outcome = Appended | Conflict | Replayed


def check(append: Append) -> int:
    """The size in bytes of a command that can be stored.

    Raises `TooLarge` for an event above 256 KiB, `Invalid` for a name that no database holds, and `Conflict`
    for a version that no stream can have.
    """
    if not append.events:
        raise Invalid(f"nothing to append to {append.stream}")
    for stream, version in ((append.stream, append.expected_version), *append.guards):
        _check_name("stream", stream)
        if not 0 <= version <= MAX_VERSION - len(append.events):
            raise Conflict(f"{stream} can not be at version {version}")
    if append.record is not None:
        for text in (append.record.key, append.record.request_hash, append.record.command_id):
            _check_name("key", text)
    size = 0
    for event in append.events:
        _check_name("tag", event.tag)
        if len(event.body) > MAX_EVENT_BYTES and not append.is_sealed:
            raise TooLarge(f"{event.tag} has {len(event.body)} bytes, an event may have {MAX_EVENT_BYTES}")
        size += len(event.body)
    return size + sum([len(part.body) for part in append.contents])


def is_storable(name: str) -> bool:
    """Whether a stream or key of that name can be in a log at all."""
    try:
        _check_name("name", name)
    except Invalid:
        return False
    return True


def _check_name(what: str, name: str) -> None:
    try:
        size_bytes = len(name) if name.isascii() else len(name.encode())
    except UnicodeEncodeError:
        raise Invalid(f"the {what} {name!r} is not Unicode text") from None
    if "\x00" in name:
        raise Invalid(f"the {what} {name!r} holds a NUL character")
    if not 0 < size_bytes <= MAX_NAME_BYTES:
        raise Invalid(f"a {what} has 1 to {MAX_NAME_BYTES} bytes, not {size_bytes}")


def streams_of(appends: Iterable[Append]) -> set[str]:
    """Every stream that the commands write or rest on."""
    return {stream for append in appends for stream in (append.stream, *dict(append.guards))}


def keys_of(appends: Iterable[Append]) -> set[str]:
    """Every idempotency key that came with the commands."""
    return {append.record.key for append in appends if append.record is not None}


def conflict(append: Append, stream: str, actual: int) -> Conflict:
    """The refusal of a command because a stream, its own or a guard, is not where it was expected."""
    expected = append.expected_version if stream == append.stream else dict(append.guards)[stream]
    return Conflict(f"{stream} is at version {actual}, not {expected}")


class Decider:
    """Decides commands one after another on what the log holds: versions by stream, records by key, and the
    head.

    `versions` and `records` need only hold what the commands name; a stream that is not there is at version
    0.
    """

    def __init__(self, versions: dict[str, int], head: int, records: dict[str, CommandRecord]) -> None:
        self.versions = versions
        self.records = records
        self.head = head

    def decide(self, append: Append) -> Outcome:
        """The outcome, after which versions, records and head are those that the next command meets."""
        if append.record is not None and append.record.key in self.records:
            return Replayed(self.records[append.record.key])
        for stream, expected in ((append.stream, append.expected_version), *append.guards):
            actual = self.versions.get(stream, 0)
            if actual != expected:
                return conflict(append, stream, actual)
        return self._accept(append)

    def _accept(self, append: Append) -> Appended:
        version = append.expected_version + len(append.events)
        self.versions[append.stream] = version
        self.head += len(append.events)
        if append.record is not None:
            self.records[append.record.key] = msgspec.structs.replace(
                append.record, version=version, position=self.head
            )
        return Appended(version, self.head)
