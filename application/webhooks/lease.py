"""Who delivers webhooks: one process at a time, another one when it is silent.

Called by `deliverer`. Its one rule: no clocks of two machines are compared. Whoever waits sees the holder's
saves move on; when they have not for `silent_s` of its own time, it saves over them, and the holder's next
save fails.
"""

from __future__ import annotations

import asyncio
import time
from contextlib import suppress

from application.webhooks.progress import ProgressMoved, ProgressStore
from domain.errors import Unavailable

KEY = "lease"
RENEW_S = 4.0
SILENT_S = 20.0
"""After this the holder is taken for gone."""

GIVE_UP_S = 14.0
"""A holder that could not renew for so long stops by itself, before it is taken for gone."""


class Lease:
    """The right to deliver. owner: a name of this process. is_alone: nobody else can have it."""

    def __init__(self, store: ProgressStore, owner: str, *, is_alone: bool = False) -> None:
        self._store = store
        self._owner = owner.encode()
        self._is_alone = is_alone
        self._revision = 0

    async def acquire(self) -> None:
        """Returns when it is ours."""
        seen, since = -1, time.monotonic()
        while True:
            with suppress(Unavailable, ProgressMoved):
                holder, revision = await self._store.load(KEY)
                if revision != seen:
                    seen, since = revision, time.monotonic()
                if not holder or self._is_alone or time.monotonic() - since >= SILENT_S:
                    self._revision = await self._store.save(KEY, self._owner, revision)
                    return
            await asyncio.sleep(RENEW_S / 4)

    async def keep(self) -> None:
        """Returns when it is lost."""
        renewed = time.monotonic()
        while True:
            await asyncio.sleep(RENEW_S)
            try:
                self._revision = await self._store.save(KEY, self._owner, self._revision)
                renewed = time.monotonic()
            except ProgressMoved:
                return
            except Unavailable:
                if time.monotonic() - renewed >= GIVE_UP_S:
                    return

    async def release(self) -> None:
        """Let another one have it at once."""
        with suppress(Unavailable, ProgressMoved):
            await self._store.save(KEY, b"", self._revision)
