"""What `kasal cleanup` removes from the log: old idempotency keys, and large texts that no event names.

Made by the composition root. Its one rule: events stay.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from datetime import datetime

from application.unnamed_contents import Found, Streams, remove_unnamed
from infrastructure.event_log.forgetting import forget_idempotency_keys
from infrastructure.event_log.held_contents import held_contents
from infrastructure.event_log.urls import is_memory


class Cleaning:
    """Of the log at a URL. log: opens it, as it was recorded; raises `Invalid` without the key."""

    def __init__(self, url: str, log: Callable[[], Awaitable[Streams]]) -> None:
        self._url = url
        self._log = log

    async def forget_idempotency_keys(self, before: datetime) -> int:
        """Those that came before a moment; how many there were."""
        return await forget_idempotency_keys(self._url, before)

    async def remove_unnamed_contents(self, before: datetime, *, is_dry_run: bool) -> Found:
        """Of executions that ended before a moment."""
        log = await self._log()
        if is_memory(self._url):
            return Found()
        async with held_contents(self._url) as held:
            return await remove_unnamed(log, held, before, is_dry_run=is_dry_run)
