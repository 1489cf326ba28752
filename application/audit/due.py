"""Checkpoints in the order of their sizes: the stored ones, their signatures checked, and witnessed ones.

Called by the walk over the log. Its one rule: what is wrong with a checkpoint itself is told and the
checkpoint left out, so that a forged one can not lead the walk astray.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Sequence

from application.audit.notes import Checkpoint
from application.audit.ports import AuditStore, Forged, Verifier
from domain.errors import Invalid

PAGE = 500


class Due:
    """found: is told of each checkpoint that is none of ours. witnessed: kept elsewhere, already checked."""

    def __init__(
        self,
        store: AuditStore,
        verifier: Verifier,
        witnessed: Sequence[Checkpoint],
        found: Callable[[str], None],
    ) -> None:
        self._store = store
        self._verifier = verifier
        self._witnessed = sorted(witnessed, key=lambda checkpoint: checkpoint.size)
        self._found = found
        self._notes: list[tuple[int, str]] = []
        self._next: Checkpoint | None = None
        self._after = 0

    async def up_to(self, size: int) -> AsyncIterator[Checkpoint]:
        """Those not seen yet, up to a size."""
        while True:
            stored = await self._stored()
            seen_first = self._witnessed[0] if self._witnessed else None
            if seen_first is not None and (stored is None or seen_first.size <= stored.size):
                if seen_first.size > size:
                    return
                yield self._witnessed.pop(0)
            elif stored is not None and stored.size <= size:
                self._next = None
                yield stored
            else:
                return

    async def _stored(self) -> Checkpoint | None:
        """The next stored one that is signed, looked at but not taken."""
        while self._next is None:
            if not self._notes:
                self._notes = list(await self._store.notes(self._after, PAGE))
            if not self._notes:
                return None
            self._after, note = self._notes.pop(0)
            self._next = self._checked(self._after, note)
        return self._next

    def _checked(self, size: int, note: str) -> Checkpoint | None:
        try:
            checkpoint = self._verifier.check(note)
        except (Forged, Invalid) as error:
            self._found(f"checkpoint of size {size}: {error}")
            return None
        if checkpoint.size != size:
            self._found(f"checkpoint of size {size}: the signed text is of size {checkpoint.size}")
            return None
        return checkpoint
