"""Who delivers which webhook: the processes that are there share them out by their names.

Called by `deliverer`. Its one rule: no clocks of two machines are compared. All save one document, the
roster, in which each moves a count of its own on; whose count stands still for `SILENT_S` of a reader's own
time is taken off, and stops by itself before. To whom a webhook belongs follows from the names on the roster
alone (rendezvous hashing; Thaler and Ravishankar, 1998): all agree, and nothing moves but what has to.
"""

from __future__ import annotations

import asyncio
import time
from contextlib import suppress
from hashlib import sha256

import msgspec

from application.webhooks.progress import ProgressMoved, ProgressStore
from domain.errors import Unavailable

KEY = "roster"
RENEW_S = 1.5
GIVE_UP_S = 5.0
"""Whoever could not renew for so long stops by itself, before it is taken for gone."""

SILENT_S = 8.0
HANDOVER_S = 4.0
"""So long a newcomer waits until the others have seen it, and have let go of what is its own now."""

Roster = dict[str, int]

_roster = msgspec.json.Decoder(Roster).decode


class Lost(Exception):
    """The others have taken this process off the roster."""


class Share:
    """The webhooks of one process. owner: its name. is_alone: there is no other, and all are its own.

    changed: is set whenever others have come or gone
    """

    def __init__(self, store: ProgressStore, owner: str, *, is_alone: bool = False) -> None:
        self.changed = asyncio.Event()
        self._store = store
        self._owner = owner
        self._is_alone = is_alone
        self._members: tuple[str, ...] = (owner,)
        self._seen: dict[str, tuple[int, float]] = {}

    @property
    def members(self) -> tuple[str, ...]:
        return self._members

    def has(self, subscription_id: str) -> bool:
        return self._owner == max(self._members, key=lambda name: weight(name, subscription_id))

    async def join(self) -> None:
        """Returns when the others know of this process, so that what is its own is nobody else's."""
        if self._is_alone:
            return
        since: float | None = None
        while True:
            with suppress(Unavailable, Lost):
                await self._renew(is_new=since is None)
                since = since or time.monotonic()
                if len(self._members) == 1 or time.monotonic() - since >= HANDOVER_S:
                    return
            await asyncio.sleep(min(RENEW_S, HANDOVER_S) / 2)

    async def keep(self) -> None:
        """Returns when it is lost."""
        if self._is_alone:
            await asyncio.Event().wait()
        renewed = time.monotonic()
        while True:
            await asyncio.sleep(RENEW_S)
            try:
                async with asyncio.timeout(GIVE_UP_S):
                    await self._renew()
                renewed = time.monotonic()
            except Lost:
                return
            except (Unavailable, TimeoutError):
                if time.monotonic() - renewed >= GIVE_UP_S:
                    return

    async def leave(self) -> None:
        """Let the others share what was its own, at once."""
        if self._is_alone:
            return
        with suppress(Unavailable, ProgressMoved, TimeoutError):
            async with asyncio.timeout(GIVE_UP_S):
                roster, revision = await self._load()
                roster.pop(self._owner, None)
                await self._store.save(KEY, msgspec.json.encode(roster), revision)

    async def _renew(self, *, is_new: bool = False) -> None:
        """Raises `Lost`, `Unavailable`."""
        while True:
            roster, revision = await self._load()
            if not is_new and self._owner not in roster:
                raise Lost
            alive = {name: count for name, count in roster.items() if self._is_heard_of(name, count)}
            alive[self._owner] = roster.get(self._owner, 0) + 1
            try:
                await self._store.save(KEY, msgspec.json.encode(alive), revision)
            except ProgressMoved:
                await asyncio.sleep(0)
                continue
            if self._members != (members := tuple(sorted(alive))):
                self._members = members
                self.changed.set()
            return

    def _is_heard_of(self, name: str, count: int) -> bool:
        seen, since = self._seen.get(name, (None, 0.0))
        if seen != count:
            since = time.monotonic()
            self._seen[name] = (count, since)
        return name == self._owner or time.monotonic() - since < SILENT_S

    async def _load(self) -> tuple[Roster, int]:
        body, revision = await self._store.load(KEY)
        return (_roster(body) if body else {}), revision


def weight(name: str, subscription_id: str) -> bytes:
    return sha256(f"{name}\n{subscription_id}".encode()).digest()
