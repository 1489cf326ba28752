"""`ProgressStore` in memory: for tests, and as a model of what the others do."""

from __future__ import annotations

from application.webhooks.progress import ProgressMoved
from domain.errors import Unavailable


class MemoryProgress:
    """is_away: what happens while the server is not there."""

    def __init__(self) -> None:
        self._kept: dict[str, tuple[bytes, int]] = {}
        self._last = 0
        self.is_away = False

    async def load(self, key: str) -> tuple[bytes, int]:
        self._check()
        return self._kept.get(key, (b"", 0))

    async def save(self, key: str, body: bytes, revision: int) -> int:
        self._check()
        if self._kept.get(key, (b"", 0))[1] != revision:
            raise ProgressMoved(key)
        self._last += 1
        self._kept[key] = (body, self._last)
        return self._last

    def kept(self, key: str) -> bytes:
        """What is stored, for whoever only wants to know."""
        return self._kept.get(key, (b"", 0))[0]

    def _check(self) -> None:
        if self.is_away:
            raise Unavailable("away")
