"""What a client may ask for: checkpoints, proofs against them, and an execution with its proofs.

Called by HTTP. Its one rule: a proof is worked out from the stored hashes alone, so it can not be bent to an
event that was changed; whoever checks it finds the difference.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence

import msgspec

from application.audit.bundles import BundleHead, line_of
from application.audit.merkle import Range, StoredEvent, consistency_path, inclusion_path
from application.audit.notes import Checkpoint
from application.audit.ports import AuditStore
from application.audit.sealing import Seals, Unsealed
from application.audit.tiles import DamagedTree, places_for, roots_of
from domain.errors import Fault, Invalid, NotCaughtUp, NotFound, Unavailable
from domain.message import Metadata

CHUNK = 64
RETRY_S = 5

_metadata = msgspec.json.Decoder(Metadata).decode


class TreeDamaged(Unavailable):
    """The stored hashes lack a part: `kasal audit verify` says more."""


class Inclusion(msgspec.Struct, frozen=True, kw_only=True):
    """The path (RFC 6962, 2.1.1) from the event at a position to the root of the checkpoint.

    leaf_hash  as it was stored: compare it with the hash of the event that you have
    path       hashes from the leaf up, base64
    """

    position: int
    size: int
    leaf_hash: bytes
    path: tuple[bytes, ...]
    checkpoint: str


class Consistency(msgspec.Struct, frozen=True, kw_only=True):
    """The path (RFC 6962, 2.1.2) by which the later checkpoint only added to the earlier one."""

    from_size: int = msgspec.field(name="from")
    to_size: int = msgspec.field(name="to")
    path: tuple[bytes, ...]
    from_checkpoint: str
    to_checkpoint: str


class Audit:
    """public: the verifier key, None in a process that does not know it. seals: what opens contents."""

    def __init__(self, store: AuditStore, public: str | None, seals: Seals | None = None) -> None:
        self.store = store
        self.public = public
        self.seals = seals or Unsealed()

    async def checkpoints(self, before: int | None, limit: int) -> Sequence[Checkpoint]:
        """The largest size first; below `before`, where it is given."""
        return await self.store.newest(before, limit)

    async def checkpoint(self, size: int | None = None) -> Checkpoint:
        """The one of a size, or the newest. Raises `NotFound`."""
        found = await self.store.last_checkpoint(size)
        if found is None or size not in (None, found.size):
            raise NotFound("there is no checkpoint" + ("" if size is None else f" of size {size}"))
        return found

    async def inclusion(self, position: int, size: int | None = None) -> Inclusion:
        """In the checkpoint of a size, or the newest. Raises `NotFound` where it does not reach so far."""
        checkpoint = await self.checkpoint(size)
        if position > checkpoint.size:
            raise NotFound(f"the checkpoint of size {checkpoint.size} is from before position {position}")
        leaf = (position - 1, position)
        found, *path = await self._roots([leaf, *inclusion_path(position - 1, checkpoint.size)])
        return Inclusion(
            position=position,
            size=checkpoint.size,
            leaf_hash=found,
            path=tuple(path),
            checkpoint=checkpoint.note,
        )

    async def consistency(self, old: int, new: int | None = None) -> Consistency:
        """Between the checkpoints of two sizes. Raises `NotFound`, `Invalid`."""
        earlier, later = await self.checkpoint(old), await self.checkpoint(new)
        if earlier.size > later.size:
            expectation = f"expected a size up to {later.size}, that of `to`"
            raise Invalid(f"from {expectation}", (Fault("from", expectation),))
        return Consistency(
            from_size=earlier.size,
            to_size=later.size,
            path=tuple(await self._roots(consistency_path(earlier.size, later.size))),
            from_checkpoint=earlier.note,
            to_checkpoint=later.note,
        )

    async def bundle(self, tenant: str, stream: str) -> AsyncIterator[bytes]:
        """The lines of a stream's bundle.

        Raises `NotFound`, and `NotCaughtUp` while its last event is beyond the newest checkpoint.
        """
        first = await self.store.stream_events(stream, 0, 1)
        if not first or _metadata(first[0][5]).tenant != tenant:
            raise NotFound(f"there is no {stream.replace('-', ' ', 1)!r}")
        version, position = await self.store.stream_end(stream)
        checkpoint = await self.checkpoint()
        if position > checkpoint.size:
            message = f"the newest checkpoint, of size {checkpoint.size}, is from before position {position}"
            raise NotCaughtUp(message, retry_after_s=RETRY_S)
        head = BundleHead(
            stream=stream,
            events=version,
            checkpoint=checkpoint.note,
            key=self.public or "",
            opens=await self.seals.secret_of(stream) or b"",
        )
        return self._lines(head, checkpoint.size)

    async def _lines(self, head: BundleHead, size: int) -> AsyncIterator[bytes]:
        yield line_of(head)
        after = 0
        while after < head.events:
            events = await self.store.stream_events(head.stream, after, min(CHUNK, head.events - after))
            if not events:
                return
            for event, path in zip(events, await self._paths(events, size), strict=True):
                yield line_of(head, event, path)
            after = events[-1][1]

    async def _paths(self, events: Sequence[StoredEvent], size: int) -> list[Sequence[bytes]]:
        ranges = [inclusion_path(position - 1, size) for position, *_ in events]
        roots = iter(await self._roots([leaves for path in ranges for leaves in path]))
        return [[next(roots) for _ in path] for path in ranges]

    async def _roots(self, ranges: Sequence[Range]) -> list[bytes]:
        try:
            return roots_of(ranges, await self.store.tiles(places_for(ranges)))
        except DamagedTree as error:
            raise TreeDamaged(str(error)) from error
