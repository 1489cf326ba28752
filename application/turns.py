"""Turns: commands on one stream, one after the other within a process.

Called by `application.commands`. Its one rule: it makes nothing correct, the log's comparison of versions
does; it saves the tries of commands that would all decide on the same state, of which one could win.
"""

from __future__ import annotations

import asyncio
from weakref import WeakValueDictionary


class Turns:
    """A lock for each stream that somebody has or waits for, in the order of their coming."""

    def __init__(self) -> None:
        self._locks: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()

    def of(self, stream: str) -> asyncio.Lock:
        """Keep hold of it: it is forgotten with the last who does."""
        if (lock := self._locks.get(stream)) is None:
            lock = self._locks[stream] = asyncio.Lock()
        return lock
