"""What one webhook still has to be sent, a lane for each stream of the log.

Called by `courier`. Its one rule: the order within a lane is the order of the log.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from application.webhooks.progress import LaneProgress
from domain.message import Recorded


@dataclass
class Lane:
    """attempts, since, next_at: of the first that waits, as `LaneProgress` has them."""

    owner: Lanes
    waiting: deque[Recorded] = field(default_factory=deque)
    attempts: int = 0
    since: float = 0.0
    next_at: float = 0.0

    def taken(self) -> None:
        """The first is delivered, or given up."""
        self.waiting.popleft()
        self.owner.waiting -= 1
        self.fresh()

    def failed(self, now: float, next_at: float) -> None:
        self.attempts += 1
        self.since = self.since or now
        self.next_at = next_at
        self.owner.changed()

    def fresh(self) -> None:
        self.attempts, self.since, self.next_at = 0, 0.0, 0.0
        self.owner.changed()


class Lanes:
    """The lanes that have something to send. waiting: events in all of them; has_changed: since it was last
    set to False."""

    def __init__(self) -> None:
        self._lanes: dict[str, Lane] = {}
        self._moved = asyncio.Event()
        self.waiting = 0
        self.has_changed = False

    def __iter__(self) -> Iterator[tuple[str, Lane]]:
        return iter(list(self._lanes.items()))

    def add(self, key: str, recorded: Recorded) -> Lane | None:
        """The lane, when it is new: somebody has to work on it."""
        lane = self._lanes.get(key)
        is_new = lane is None
        if lane is None:
            lane = self._lanes[key] = Lane(self)
        lane.waiting.append(recorded)
        self.waiting += 1
        return lane if is_new else None

    def restore(self, key: str, progress: LaneProgress, events: Sequence[Recorded]) -> None:
        """A lane as it was; its patience is kept only for the event that it was had with."""
        for recorded in events:
            self.add(key, recorded)
        lane = self._lanes.get(key)
        if lane is not None and lane.waiting[0].position == progress.position:
            lane.attempts, lane.since, lane.next_at = progress.attempts, progress.since, progress.next_at

    def remove(self, key: str) -> None:
        del self._lanes[key]
        self.changed()

    def forget_failures(self) -> None:
        for lane in self._lanes.values():
            lane.fresh()

    def changed(self) -> None:
        self.has_changed = True
        self._moved.set()

    async def room(self, max_lanes: int, max_waiting: int) -> None:
        """Returns when one more may wait."""
        while len(self._lanes) >= max_lanes or self.waiting >= max_waiting:
            self._moved.clear()
            await self._moved.wait()

    def progress(self) -> dict[str, LaneProgress]:
        return {
            key: LaneProgress(
                lane.waiting[0].position, lane.waiting[0].version, lane.attempts, lane.since, lane.next_at
            )
            for key, lane in self._lanes.items()
            if lane.waiting
        }
