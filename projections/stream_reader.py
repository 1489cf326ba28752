"""The part of the event log that projections read. Its one rule: they never write to it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from domain.message import Recorded


class LogReader(Protocol):
    async def read_all(self, after_position: int, limit: int) -> Sequence[Recorded]: ...

    async def read_stream(self, stream: str, after_version: int = 0) -> Sequence[Recorded]: ...

    async def head(self) -> int: ...
