"""How far each projection is, and waiting for one to get there: a client reads its own writes.

Called by HTTP before a query (`?after=`, the `Kasal-Position` header). Its one rule: a position that is told
is never ahead of what a query started afterwards sees.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Any, NamedTuple

from domain.errors import NotCaughtUp, Unavailable

if TYPE_CHECKING:
    from projections.database import ReadDatabase

POLL_EVERY_S = 0.005
"""While somebody waits, and another process moves the projections."""

POLL_OWN_EVERY_S = 0.05
"""How long the table is not looked at where a projector in this process tells of each move."""

FRESH_FOR_S = 0.05
"""How long a position that was read may be told again."""

GATHER_S, GATHER_UNSEEN_S = 0.05, 0.25
"""Folding costs by the batch: how long a projector that shares its process with the command path gathers
events while nobody waits for them; and while nobody looks."""

SEEN_FOR_S = 2.0
"""How long after a query somebody is taken to look."""

READ_POSITIONS = "SELECT name, position FROM kasal_projections WHERE role = 'live'"

Fetch = Callable[[str], Awaitable[Sequence[tuple[Any, ...]]]]


async def wait_for(read_db: ReadDatabase, names: Sequence[str], position: int, timeout_s: float) -> None:
    """Return once every named projection has reached a position. Raises `NotCaughtUp` after `timeout_s`."""
    await read_db.positions.reach(names, position, timeout_s)


async def position_of(read_db: ReadDatabase, names: Sequence[str]) -> int:
    """What every named projection has reached, at most 50 ms old; ask before the query that it describes.

    0 while one of them is not built yet. Raises `Unavailable`.
    """
    return await read_db.positions.lowest(names)


class _Waiter(NamedTuple):
    names: tuple[str, ...]
    position: int
    reached: asyncio.Future[None]


class Positions:
    """The positions of a read database as this process knows them; one poller for all who wait.

    awaited  set while somebody waits for a position
    """

    def __init__(self, fetch: Fetch) -> None:
        self._fetch = fetch
        self._known: dict[str, int] = {}
        self._read_at = 0.0
        self._reading: asyncio.Task[None] | None = None
        self._waiters: set[_Waiter] = set()
        self._told_at: dict[str, float] = {}
        self._asked_at = float("-inf")
        self.awaited = asyncio.Event()
        self._poller: asyncio.Task[None] | None = None

    def moved(self, positions: Mapping[str, int]) -> None:
        """Called by a projector in this process, in the event loop, after its commit."""
        self._told_at.update(dict.fromkeys(positions, time.monotonic()))
        self._known.update(positions)
        self._wake()

    async def reach(self, names: Sequence[str], position: int, timeout_s: float) -> None:
        if self._lowest(names) >= position:
            return
        waiter = _Waiter(tuple(names), position, asyncio.get_running_loop().create_future())
        self._waiters.add(waiter)
        self.awaited.set()
        self._poll()
        try:
            async with asyncio.timeout(timeout_s):
                await waiter.reached
        except TimeoutError:
            at = self._lowest(names)
            raise NotCaughtUp(f"{', '.join(names)} is at position {at}, not yet at {position}") from None
        finally:
            self._waiters.discard(waiter)
            if not self._waiters:
                self.awaited.clear()

    def gather_s(self) -> float:
        """How long to gather events before the next fold, unless somebody waits for one."""
        return GATHER_S if time.monotonic() - self._asked_at < SEEN_FOR_S else GATHER_UNSEEN_S

    async def lowest(self, names: Sequence[str]) -> int:
        self._asked_at = time.monotonic()
        if self._asked_at - self._read_at > FRESH_FOR_S:
            if self._reading is None or self._reading.done():
                self._reading = asyncio.create_task(self._read())
            await asyncio.shield(self._reading)
        return self._lowest(names)

    async def close(self) -> None:
        for task in (self._poller, self._reading):
            if task is not None:
                task.cancel()
                await asyncio.wait([task])

    def _lowest(self, names: Sequence[str]) -> int:
        return min(self._known.get(name, 0) for name in names)

    async def _read(self) -> None:
        started = time.monotonic()
        try:
            rows = await self._fetch(READ_POSITIONS)
        except NotCaughtUp:
            rows = []
        except Unavailable:
            self._known = {}
            raise
        self._known = dict(rows)
        self._read_at = started

    def _poll(self) -> None:
        if self._poller is None or self._poller.done():
            self._poller = asyncio.create_task(self._poll_while_awaited(), name="projection positions")

    async def _poll_while_awaited(self) -> None:
        while self._waiters:
            is_told = self._is_told()
            await asyncio.sleep(POLL_OWN_EVERY_S if is_told else 0)
            if self._waiters and not (is_told and self._is_told()):
                with suppress(Unavailable):
                    await self._read()
                self._wake()
            await asyncio.sleep(0 if is_told else POLL_EVERY_S)

    def _is_told(self) -> bool:
        """Whether a projector in this process moves all that is waited for."""
        names = {name for waiter in self._waiters for name in waiter.names}
        since = time.monotonic() - 2 * POLL_OWN_EVERY_S
        return all(name in self._told_at and self._told_at[name] > since for name in names)

    def _wake(self) -> None:
        for waiter in self._waiters:
            if not waiter.reached.done() and self._lowest(waiter.names) >= waiter.position:
                waiter.reached.set_result(None)
