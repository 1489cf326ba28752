"""Clocks: the system's, and one that tests hold still. Both speak UTC and make UUIDv7 ids."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from weakref import WeakMethod

IDS_AT_ONCE = 400


def uuid7(unix_ms: int, randomness: bytes) -> str:
    """A UUIDv7 (RFC 9562, 5.7) from milliseconds since the epoch and 10 random bytes, as text."""
    value = (unix_ms & (2**48 - 1)) << 80 | int.from_bytes(randomness, "big")
    value = value & ~(0xF << 76) | 0x7 << 76
    value = value & ~(0x3 << 62) | 0x2 << 62
    text = f"{value:032x}"
    return f"{text[:8]}-{text[8:12]}-{text[12:16]}-{text[16:20]}-{text[20:]}"


class SystemClock:
    """The machine's clock and its random bytes. Safe from any thread, and after a fork.

    What follows the time in an id is a random number that is counted on from (RFC 9562, 6.2, method 2), anew
    every so many ids: each call of the kernel for random bytes lets go of the interpreter's lock, and to get
    it back beside a busy writer thread costs ten times the call.
    """

    def __init__(self) -> None:
        self._seed = new_seed()
        self._moment = (0, "")
        forget = WeakMethod(self._forget)
        os.register_at_fork(after_in_child=lambda: (alive := forget()) and alive())

    def now(self) -> datetime:
        return datetime.now(UTC)

    def new_id(self) -> str:
        head, numbers = self._seed
        if (number := next(numbers, None)) is None:
            self._forget()
            return self.new_id()
        unix_ms, moment = self._moment
        if (now_ms := time.time_ns() // 1_000_000) != unix_ms:
            text = f"{now_ms:012x}"
            moment = f"{text[:8]}-{text[8:]}-"
            self._moment = (now_ms, moment)
        return f"{moment}{head}{number:012x}"

    def _forget(self) -> None:
        """Count on from another number; in a forked process, the old one is its parent's."""
        self._seed = new_seed()


def new_seed() -> tuple[str, Iterator[int]]:
    """The random part of `IDS_AT_ONCE` ids: what they share, and the number at the end of each."""
    randomness = os.urandom(10)
    shared = uuid7(0, randomness)[14:24]
    first = int.from_bytes(randomness[4:]) & (2**47 - 1)
    return shared, iter(range(first, first + IDS_AT_ONCE))


class FixedClock:
    """A clock for tests: stands still until it is moved; ids count up."""

    def __init__(self, at: datetime = datetime(2026, 1, 1, tzinfo=UTC)) -> None:
        self._at = at
        self._ids = 0

    def now(self) -> datetime:
        return self._at

    def new_id(self) -> str:
        self._ids += 1
        return uuid7(int(self._at.timestamp() * 1000), self._ids.to_bytes(10, "big"))

    def advance(self, by: timedelta) -> None:
        self._at += by
