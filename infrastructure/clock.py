"""Clocks: the system's, and one that tests hold still. Both speak UTC and make UUIDv7 ids."""

from __future__ import annotations

import os
import time
from datetime import UTC, datetime, timedelta
from uuid import UUID


def uuid7(unix_ms: int, randomness: bytes) -> str:
    """A UUIDv7 (RFC 9562, 5.7) from milliseconds since the epoch and 10 random bytes, as text."""
    value = (unix_ms & (2**48 - 1)) << 80 | int.from_bytes(randomness, "big")
    value = value & ~(0xF << 76) | 0x7 << 76
    value = value & ~(0x3 << 62) | 0x2 << 62
    return str(UUID(int=value))


class SystemClock:
    """The machine's clock and its random bytes."""

    def now(self) -> datetime:
        return datetime.now(UTC)

    def new_id(self) -> str:
        return uuid7(time.time_ns() // 1_000_000, os.urandom(10))


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
