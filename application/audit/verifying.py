"""The walk over the whole log: every event against the stored hashes, every checkpoint against the tree.

Called by `kasal audit verify`. Its one rule: it reads in order of the positions, in constant memory, and
names what it finds by position. A checkpoint binds every event before it, so what it says can not be argued
away; a stored hash only tells which of the events between two checkpoints it is.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import NamedTuple

import msgspec

from application.audit.due import Due
from application.audit.merkle import HASH_SIZE, StoredEvent, leaf_hash
from application.audit.notes import Checkpoint
from application.audit.ports import AuditStore, Verifier
from application.audit.sealing import Seals, Unsealed
from application.audit.texts import verify_texts
from application.audit.tiles import WIDTH, Place, Tiles, Tree

PAGE = 16 * WIDTH
MAX_FINDINGS = 100
EVERYTHING = 2**63 - 1


class Finding(msgspec.Struct, frozen=True):
    """What is wrong, and where: a position, or the first and last of a range; None: the log as a whole."""

    positions: tuple[int, int] | None
    message: str

    def __str__(self) -> str:
        match self.positions:
            case None:
                return self.message
            case first, last if first == last:
                return f"position {first}: {self.message}"
            case first, last:
                return f"positions {first}..{last}: {self.message}"


class Verified(msgspec.Struct, kw_only=True):
    """How a walk has ended.

    events       that were read; covered: up to this position a signed checkpoint proves them
    checkpoints  whose signature and root are right
    texts        large ones beside the log, that were looked at
    findings     the first of them; count: of all
    """

    events: int = 0
    covered: int = 0
    checkpoints: int = 0
    texts: int = 0
    findings: list[Finding] = []
    count: int = 0

    @property
    def is_sound(self) -> bool:
        return self.count == 0

    def found(self, message: str, first: int | None = None, last: int | None = None) -> None:
        self.count += 1
        if len(self.findings) < MAX_FINDINGS:
            positions = None if first is None else (first, first if last is None else last)
            self.findings.append(Finding(positions, message))


class Page(NamedTuple):
    """Leaves behind a position: hashes of the events as they are, and as they are stored."""

    begin: int
    actual: list[bytes]
    claimed: list[bytes]

    @property
    def end(self) -> int:
        return self.begin + len(self.actual)


async def verify_log(
    store: AuditStore,
    verifier: Verifier,
    *,
    witnessed: Sequence[Checkpoint] = (),
    progress: Callable[[int, int], None] = lambda done, total: None,
    seals: Seals | None = None,
) -> Verified:
    """Walk the whole log, then the large texts beside it.

    witnessed  checkpoints that were kept elsewhere, which it must agree with too
    seals      what opens the texts, where they are sealed
    """
    walk = Walk(store, verifier, witnessed)
    await walk.run(progress)
    walk.result.texts = await verify_texts(store, seals or Unsealed(), walk.result.found)
    return walk.result


class Walk:
    """tree: over the events as they are; claimed: over the stored hashes, while the two are not the same.

    doubts  positions at which they differ, until a checkpoint tells which of the two was signed
    """

    def __init__(self, store: AuditStore, verifier: Verifier, witnessed: Sequence[Checkpoint]) -> None:
        self.result = Verified()
        self._store = store
        self._due = Due(store, verifier, witnessed, self.result.found)
        self._tree = Tree()
        self._claimed: Tree | None = None
        self._doubts: list[int] = []
        self._last_right = 0
        self._is_broken = False

    async def run(self, progress: Callable[[int, int], None]) -> None:
        end, head = await self._store.ends()
        if end != head:
            self.result.found(f"the log's last event is at position {end}, but its head counts {head}")
        for begin in range(0, end, PAGE):
            await self._grow(await self._read(begin, min(begin + PAGE, end)))
            progress(min(begin + PAGE, end), end)
        self._resolve(end, "the event is not the one whose hash was stored")
        await self._check_end()
        if self.result.events and not self.result.covered and self.result.is_sound:
            self.result.found("there is no checkpoint, so nothing proves what was recorded")

    async def _read(self, begin: int, end: int) -> Page:
        events = await self._store.events(begin, end)
        stored = await self._store.tiles(
            Place(0, number) for number in range(begin // WIDTH, -(-end // WIDTH))
        )
        hashes = await asyncio.to_thread(leaf_hashes, events)
        self.result.events += len(events)
        if len(events) == end - begin and b"".join(hashes) == claimed_hashes(begin, end, stored):
            return Page(begin, hashes, hashes)
        by_position = {event[0]: found for event, found in zip(events, hashes, strict=True)}
        return self._compare(begin, end, by_position, stored)

    def _compare(self, begin: int, end: int, hashes: dict[int, bytes], stored: Tiles) -> Page:
        """Leaf by leaf: what lacks is a finding, what differs a doubt; a stored hash stands in for a gap."""
        page = Page(begin, [], [])
        for position in range(begin + 1, end + 1):
            claim = stored_hash(position, stored)
            found = hashes.get(position)
            if found is None:
                self.result.found("the event is missing", position)
                found = claim or bytes(HASH_SIZE)
            elif claim is not None and claim != found:
                self._doubt(position)
            page.actual.append(found)
            page.claimed.append(claim or found)
        return page

    def _doubt(self, position: int) -> None:
        if len(self._doubts) < MAX_FINDINGS:
            self._doubts.append(position)
        else:
            self.result.count += 1

    async def _grow(self, page: Page) -> None:
        """Add a page to the tree, stopping at every checkpoint within it."""
        at = page.begin
        async for checkpoint in self._due.up_to(page.end):
            self._add(page, at, checkpoint.size)
            at = max(at, checkpoint.size)
            self._check(checkpoint)
        self._add(page, at, page.end)

    def _add(self, page: Page, begin: int, end: int) -> None:
        part = slice(begin - page.begin, max(begin, end) - page.begin)
        actual, claimed = page.actual[part], page.claimed[part]
        if self._claimed is None and page.actual is not page.claimed and actual != claimed:
            self._claimed = self._tree.copy()
        self._tree.add(actual)
        if self._claimed is not None:
            self._claimed.add(claimed)

    def _check(self, checkpoint: Checkpoint) -> None:
        """One of the two trees has the signed root, and the walk goes on from it; or the walk is broken."""
        if checkpoint.root == self._tree.root():
            verdict = "its stored hash was changed; the event itself is the one that was signed"
        elif self._claimed is not None and checkpoint.root == self._claimed.root():
            verdict = "the event is not the one that was signed"
            self._tree = self._claimed
        else:
            return self._break(checkpoint)
        self._claimed = None
        self._resolve(checkpoint.size, verdict)
        self._last_right = checkpoint.size
        self.result.checkpoints += 1
        self.result.covered = max(self.result.covered, checkpoint.size)
        return None

    def _break(self, checkpoint: Checkpoint) -> None:
        """Told once: every later checkpoint has the same events under it."""
        if not self._is_broken:
            self._is_broken = True
            message = f"not the events that the checkpoint of size {checkpoint.size} was signed over"
            self.result.found(message, self._last_right + 1, checkpoint.size)
        self._resolve(checkpoint.size, "the event is not the one whose hash was stored")

    def _resolve(self, up_to: int, verdict: str) -> None:
        for position in [doubt for doubt in self._doubts if doubt <= up_to]:
            self.result.found(verdict, position)
        self._doubts = [doubt for doubt in self._doubts if doubt > up_to]

    async def _check_end(self) -> None:
        """No checkpoint is known of more events than there are by now."""
        size = max([checkpoint.size async for checkpoint in self._due.up_to(EVERYTHING)], default=0)
        end, _ = await self._store.ends()
        if size > end:
            message = f"the events are missing: a checkpoint of size {size} was signed over them"
            self.result.found(message, end + 1, size)


def leaf_hashes(events: Sequence[StoredEvent]) -> list[bytes]:
    return [leaf_hash(event) for event in events]


def claimed_hashes(begin: int, end: int, stored: Tiles) -> bytes:
    """The stored hashes of a page, side by side. `begin` is where a tile begins."""
    numbers = range(begin // WIDTH, -(-end // WIDTH))
    return b"".join(stored.get(Place(0, number), b"") for number in numbers)[: (end - begin) * HASH_SIZE]


def stored_hash(position: int, stored: Tiles) -> bytes | None:
    number, place = divmod(position - 1, WIDTH)
    found = stored.get(Place(0, number), b"")[place * HASH_SIZE : (place + 1) * HASH_SIZE]
    return found if len(found) == HASH_SIZE else None
