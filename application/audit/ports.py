"""What the audit asks of the world.

AuditStore  SQLite, PostgreSQL           infrastructure/event_log/
Signer      Ed25519                      infrastructure/audit_keys.py, with its Verifier
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Protocol

import msgspec

from application.audit.merkle import StoredEvent
from application.audit.notes import Checkpoint
from application.audit.tiles import Place, Tiles


class TextPart(msgspec.Struct, frozen=True):
    """A row of the content store, in the order of (digest, owner, number)."""

    digest: str
    owner: str
    number: int
    total_bytes: int
    body: bytes

    @property
    def place(self) -> tuple[str, str, int]:
        return self.digest, self.owner, self.number


class AuditStore(Protocol):
    """The log's rows as bytes, and beside them the hash tiles and checkpoints. Raises `LogUnavailable`."""

    async def events(self, after_position: int, to_position: int) -> Sequence[StoredEvent]:
        """The stored events with positions in the range, in order; fewer than it is long where some lack."""
        ...

    async def stream_events(self, stream: str, after_version: int, limit: int) -> Sequence[StoredEvent]:
        """The stored events of a stream beyond a version, in the order of their versions."""
        ...

    async def stream_end(self, stream: str) -> tuple[int, int]:
        """The last version of a stream and its position; 0 and 0 for one that is not there."""
        ...

    async def ends(self) -> tuple[int, int]:
        """The highest position of an event, and the head that appends count on from; 0 in an empty log."""
        ...

    async def tiles(self, places: Iterable[Place]) -> Tiles:
        """Those of them that are stored."""
        ...

    async def texts(self, after: tuple[str, str, int], limit: int) -> Sequence[TextPart]:
        """Parts of large texts behind a place (digest, owner, number), in that order."""
        ...

    async def last_checkpoint(self, up_to: int | None = None) -> Checkpoint | None:
        """The checkpoint of the largest size, or of the largest that is at most `up_to`."""
        ...

    async def notes(self, after: int, limit: int) -> Sequence[tuple[int, str]]:
        """The sizes and texts of checkpoints beyond a size, as they are stored, by size."""
        ...

    async def newest(self, before: int | None, limit: int) -> Sequence[Checkpoint]:
        """Checkpoints, the largest size first; below `before`, where it is given."""
        ...

    async def add(self, previous: int, tiles: Tiles, checkpoint: Checkpoint) -> bool:
        """Store tiles (over those at the same places) and a checkpoint, in one transaction.

        False, and nothing is stored, when the last checkpoint is not of the size `previous` (0: none).
        """
        ...

    async def close(self) -> None:
        """Let go of every connection and thread."""
        ...


class Signer(Protocol):
    """A private key."""

    @property
    def public(self) -> str:
        """The verifier key, as text."""
        ...

    @property
    def name(self) -> str:
        """The key's name, which is the log's origin in its checkpoints."""
        ...

    def sign(self, body: str) -> str:
        """The body as a signed note."""
        ...


class Verifier(Protocol):
    """One or more public keys."""

    def check(self, note: str) -> Checkpoint:
        """The checkpoint. Raises `Invalid` for a text that is none, `Forged` when no key has signed it."""
        ...


class Forged(Exception):
    """A checkpoint that none of the known keys has signed."""
