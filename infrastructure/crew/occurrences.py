"""Which of several equal calls this is: the part of a call's id that tells repeats of one request apart.

Called by a lane for each model or tool call. Its one rule: the number does not depend on what other lanes or
other requests do, so that a crew that is run again gives every call the id it had.
"""

from __future__ import annotations

from collections import defaultdict
from itertools import count
from threading import Lock


class Occurrences:
    """Numbers 1, 2, ... per key; a released number is given out again first. Safe from any thread."""

    def __init__(self) -> None:
        self._taken: defaultdict[str, set[int]] = defaultdict(set)
        self._lock = Lock()

    def claim(self, key: str) -> int:
        """The lowest number of the key that is free."""
        with self._lock:
            taken = self._taken[key]
            number = next(n for n in count(1) if n not in taken)
            taken.add(number)
            return number

    def release(self, key: str, number: int) -> None:
        """The call with this number failed: the next equal one is the same call again."""
        with self._lock:
            self._taken[key].discard(number)
