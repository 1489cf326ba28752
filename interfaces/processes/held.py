"""The leases that a child holds, in memory that it shares with its parent.

Called by the supervisor. Its one rule: what the child has noted is there when it is killed in the next
moment, and noting it costs no system call and wakes nobody: every step takes a lease and lets it go.
"""

from __future__ import annotations

import mmap

SLOTS = 4096
"""Four times the steps that a process may be set to work on at once."""

SLOT_BYTES = 256
"""One byte of length, 0 for a free slot, then the lease's name."""


class Held:
    """Made by the parent, written by one child at a time; the one in its place goes on with it.

    What finds no room (more leases than `SLOTS`, a name above 255 bytes) is not noted: its work comes back
    when the lease ends.
    """

    def __init__(self) -> None:
        self._memory = mmap.mmap(-1, SLOTS * SLOT_BYTES)
        self._slots: dict[str, int] = {}
        self._free: list[int] = []

    def open(self) -> None:
        """In the child, before anything else: go on with what the memory says."""
        used = {slot: lease for slot in range(SLOTS) if (lease := self._read(slot))}
        self._slots = {lease: slot for slot, lease in used.items()}
        self._free = [slot for slot in reversed(range(SLOTS)) if slot not in used]

    def leases(self) -> tuple[str, ...]:
        return tuple(lease for slot in range(SLOTS) if (lease := self._read(slot)))

    def hold(self, lease: str) -> None:
        name = lease.encode()
        if not self._free or len(name) >= SLOT_BYTES or lease in self._slots:
            return
        self._slots[lease] = slot = self._free.pop()
        at = slot * SLOT_BYTES
        self._memory[at + 1 : at + 1 + len(name)] = name
        self._memory[at] = len(name)  # last: a slot counts as soon as it has a length

    def let_go(self, lease: str) -> None:
        if (slot := self._slots.pop(lease, None)) is not None:
            self._memory[slot * SLOT_BYTES] = 0
            self._free.append(slot)

    def _read(self, slot: int) -> str:
        at = slot * SLOT_BYTES
        length = self._memory[at]
        return self._memory[at + 1 : at + 1 + length].decode() if length else ""
