"""One client of the events: its place in the log, and what it is to be given next.

Called by whatever streams events out. Its one rule: while the buffer follows on it is given; otherwise the
log is read from the client's place on. What a filter leaves out still moves the place.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from contextlib import suppress

from application.live_events import PAGE, RETRY_S, TERMINAL_TAGS, Frame, LiveEvents, Watch, frames
from domain.errors import Unavailable
from domain.message import Recorded

Wants = Callable[[str], bool]
"""Whether an event with a tag is for the client."""


class Follower:
    """One client's place. `next` gives what to send.

    at         the position up to which it was given everything it wants
    has_ended  what it follows has come to its end
    """

    def __init__(
        self, live: LiveEvents, watch: Watch, after: int, wants: Wants, workflow_id: str | None = None
    ) -> None:
        self._live = live
        self._watch = watch
        self._workflow = workflow_id
        self._wants = wants
        self.at = after
        self.has_ended = False

    @property
    def is_over(self) -> bool:
        """There will be no more: it has ended, or the process does."""
        return self.has_ended or self._watch.is_closed

    async def next(self, timeout_s: float) -> list[Frame]:
        """What there is now, or comes within the time; [] otherwise, and when there are only tokens."""
        deadline = time.monotonic() + timeout_s
        while True:
            found = await self._some(deadline - time.monotonic())
            if found or self._watch.tokens or self.is_over or time.monotonic() >= deadline:
                return found

    def take_tokens(self) -> list[bytes]:
        """The pieces of model answers that came meanwhile."""
        tokens = list(self._watch.tokens)
        self._watch.tokens.clear()
        return tokens

    async def _some(self, timeout_s: float) -> list[Frame]:
        watch = self._watch
        if not (watch.is_behind or watch.frames or watch.tokens or watch.is_closed):
            watch.bell.clear()
            with suppress(TimeoutError):
                async with asyncio.timeout(max(0, timeout_s)):
                    await watch.bell.wait()
        found = await self._caught_up(timeout_s) if watch.is_behind else self._following_on()
        if self._workflow is not None:
            return [frame for frame in found if await self._is_of_workflow(frame)]
        return found

    async def _is_of_workflow(self, frame: Frame) -> bool:
        """The log is patient: what can not be looked up now is looked up again."""
        while True:
            try:
                return await self._live.workflows.of(frame.recorded) == self._workflow
            except Unavailable:
                await asyncio.sleep(RETRY_S)

    async def _caught_up(self, timeout_s: float) -> list[Frame]:
        """The next page of the log. What is recorded while it is read waits in the buffer."""
        self._watch.is_behind = False
        try:
            await self._live.start()
            events = await self._from_log()
        except Unavailable:
            self._watch.is_behind = True
            await asyncio.sleep(max(0, min(timeout_s, RETRY_S)))
            return []
        return frames(recorded for recorded in events if self._wants(recorded.tag))

    def _following_on(self) -> list[Frame]:
        """The buffered frames that the client has not had."""
        taken: list[Frame] = []
        waiting = self._watch.frames
        while waiting:
            frame = waiting.popleft()
            if self._is_next(frame.recorded):
                taken.append(frame)
        self.at = max(self.at, self._watch.passed)
        return taken

    def _is_next(self, recorded: Recorded) -> bool:
        raise NotImplementedError

    async def _from_log(self) -> Sequence[Recorded]:
        raise NotImplementedError


class AllEvents(Follower):
    """Every wanted event of the log beyond a position, for ever."""

    def _is_next(self, recorded: Recorded) -> bool:
        is_next = recorded.position > self.at
        self.at = max(self.at, recorded.position)
        return is_next

    async def _from_log(self) -> Sequence[Recorded]:
        events = await self._live.log.read_all(self.at, PAGE)
        if events:
            self.at = events[-1].position
            self._watch.is_behind = self._watch.is_behind or len(events) == PAGE
        return events


class ExecutionEvents(Follower):
    """The wanted events of an execution beyond a position of the log, until its last.

    known  its events so far, as whoever asked has just read them
    """

    def __init__(
        self, live: LiveEvents, watch: Watch, known: Sequence[Recorded], after: int, wants: Wants
    ) -> None:
        super().__init__(live, watch, after, wants)
        self._known = known
        self._stream = known[0].stream
        self._after = after
        self._version = 0

    def _is_next(self, recorded: Recorded) -> bool:
        if recorded.version <= self._version:
            return False
        self._passed(recorded)
        return recorded.position > self._after and self._wants(recorded.tag)

    async def _from_log(self) -> Sequence[Recorded]:
        events, self._known = self._known, ()
        if events:
            self._watch.is_behind = True
        else:
            events = await self._live.log.read_stream(self._stream, self._version)
        if events:
            self._passed(events[-1])
        return [recorded for recorded in events if recorded.position > self._after]

    def _passed(self, recorded: Recorded) -> None:
        self._version = recorded.version
        self.at = max(self.at, recorded.position)
        self.has_ended = recorded.tag in TERMINAL_TAGS
