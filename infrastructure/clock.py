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


def tail_of(random_hex: str) -> str:
    """What follows the time in a UUIDv7, from 20 random hexadecimal digits."""
    variant = "89ab"[int(random_hex[3], 16) & 3]
    return f"7{random_hex[:3]}-{variant}{random_hex[4:7]}-{random_hex[7:19]}"


class SystemClock:
    """The machine's clock and its random bytes. Safe from any thread, and after a fork.

    The bytes are fetched many at a time: each call of the kernel lets go of the interpreter's lock, and to
    get it back beside a busy writer thread costs ten times the call.
    """

    def __init__(self) -> None:
        self._tails: Iterator[str] = iter(())
        forget = WeakMethod(self._forget)
        os.register_at_fork(after_in_child=lambda: (alive := forget()) and alive())

    def now(self) -> datetime:
        return datetime.now(UTC)

    def new_id(self) -> str:
        tail = next(self._tails, None) or self._fetch()
        moment = f"{time.time_ns() // 1_000_000:012x}"
        return f"{moment[:8]}-{moment[8:]}-{tail}"

    def _fetch(self) -> str:
        """What follows the time in an id, for the next ids."""
        fetched = os.urandom(10 * IDS_AT_ONCE).hex()
        first, *rest = (tail_of(fetched[at : at + 20]) for at in range(0, len(fetched), 20))
        self._tails = iter(rest)
        return first

    def _forget(self) -> None:
        """In a forked process: what is left is its parent's."""
        self._tails = iter(())


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
