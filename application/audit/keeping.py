"""Keeps the tree over the log and signs checkpoints of it, at an interval of time and of events.

Called by `kasal up` and `kasal relay`. Safe to run several times over: a checkpoint is added only to the one
that it was worked out from. Its one rule: never in the way of an append; it looks at most once in `LOOK_S`,
and nothing waits for it. It goes on only from a tree that has the root that was signed last.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable

import structlog

from application.audit.merkle import leaf_hash
from application.audit.notes import Checkpoint, body_of
from application.audit.ports import AuditStore, Signer
from application.audit.tiles import DamagedTree, Place, Tree, edge_places
from application.ports import Clock
from domain.errors import KasalError

log = structlog.get_logger()

LOOK_S = 1.0
PAGE = 1_024
PAUSE_S = 10.0
"""After something went wrong."""


class LogChanged(KasalError):
    """The log or its hash tiles are not what was signed: `kasal audit verify` says where."""


class Interval:
    """A checkpoint is signed `every_s` seconds after the last, where there is anything new, and at the latest
    when `every_events` events are new."""

    def __init__(self, every_s: float, every_events: int) -> None:
        self.every_s = every_s
        self.every_events = every_events


async def keep_checkpoints(
    store: AuditStore,
    signer: Signer,
    clock: Clock,
    interval: Interval,
    wait_beyond: Callable[[int, float], Awaitable[None]],
) -> None:
    """For ever. wait_beyond: as `EventLog.wait_beyond`."""
    while True:
        try:
            keeper = await Keeper.of(store, signer, clock)
            await keeper.run(interval, wait_beyond)
        except Exception as error:
            is_expected = isinstance(error, KasalError | DamagedTree | OSError)
            log.warning("no checkpoints for now", error=str(error), exc_info=not is_expected)
            await asyncio.sleep(PAUSE_S)


class Keeper:
    """The tree as far as it was worked out, and what was filled since the last checkpoint."""

    def __init__(self, store: AuditStore, signer: Signer, clock: Clock, tree: Tree) -> None:
        self._store = store
        self._signer = signer
        self._clock = clock
        self._tree = tree
        self._signed = tree.size
        self._signed_at = time.monotonic()
        self._filled: dict[Place, bytes] = {}

    @classmethod
    async def of(cls, store: AuditStore, signer: Signer, clock: Clock) -> Keeper:
        """At the last checkpoint. Raises `LogChanged` when the stored tiles have another root."""
        return cls(store, signer, clock, await stored_tree(store))

    @property
    def unsigned(self) -> int:
        """Events of the tree that no checkpoint has yet."""
        return self._tree.size - self._signed

    async def run(self, interval: Interval, wait_beyond: Callable[[int, float], Awaitable[None]]) -> None:
        """Until another keeper was faster, or the log is not what it should be (`LogChanged`)."""
        while True:
            while await self.extend(interval.every_events - self.unsigned):
                if self.unsigned >= interval.every_events and not await self.sign():
                    return
            if self.unsigned and self._due_in_s(interval) <= 0 and not await self.sign():
                return
            await asyncio.sleep(LOOK_S)
            left_s = self._due_in_s(interval) if self.unsigned else interval.every_s
            await wait_beyond(self._tree.size, max(0.0, left_s))

    def _due_in_s(self, interval: Interval) -> float:
        return self._signed_at + interval.every_s - time.monotonic()

    async def extend(self, most: int) -> bool:
        """Take in the next page of events; whether it was full. Raises `LogChanged` where an event lacks."""
        begin, page = self._tree.size, min(PAGE, most)
        events = await self._store.events(begin, begin + page)
        if events and events[-1][0] != begin + len(events):
            raise LogChanged(f"events lack behind position {begin}: `kasal audit verify` says which")
        leaves = await asyncio.to_thread(lambda: [leaf_hash(event) for event in events])
        self._filled |= self._tree.add(leaves)
        return len(events) == page

    async def sign(self) -> bool:
        """Store the tiles and a checkpoint of the tree. False: another keeper has stored one before."""
        at, root = self._clock.now(), self._tree.root()
        note = self._signer.sign(body_of(self._signer.name, self._tree.size, root, at))
        checkpoint = Checkpoint(size=self._tree.size, root=root, at=at, note=note)
        if not await self._store.add(self._signed, self._filled | self._tree.edge(), checkpoint):
            return False
        self._signed, self._signed_at, self._filled = self._tree.size, time.monotonic(), {}
        return True


async def stored_tree(store: AuditStore, size: int | None = None) -> Tree:
    """The tree of the last checkpoint, or of the last one that is at most `size`. Raises `LogChanged`."""
    last = await store.last_checkpoint(size)
    if last is None:
        return Tree()
    tiles = await store.tiles([place for place, count in edge_places(last.size) if count])
    try:
        tree = Tree.of(last.size, tiles)
    except DamagedTree as error:
        raise LogChanged(f"{error}, so nothing is signed; `kasal audit verify` tells more") from error
    if tree.root() != last.root:
        raise LogChanged(
            f"the hash tiles do not have the root of the checkpoint of size {last.size}; "
            "nothing is signed, `kasal audit verify` tells more"
        )
    return tree
