"""One client of a stream: its place in the log, and what it is to be sent next.

Called by `events`. Its one rule: while the buffer follows on exactly it is sent; otherwise the log is read
from the client's place on.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from contextlib import suppress

from domain.errors import Unavailable
from domain.message import Recorded
from interfaces.streams import PAGE, RETRY_S, TERMINAL_TAGS, Frame, LiveEvents, Watch


class Subscription:
    """One client's place. `next` gives bytes to send. has_ended: what it follows has come to its end."""

    def __init__(self, live: LiveEvents, watch: Watch) -> None:
        self._live = live
        self._watch = watch
        self.has_ended = False

    @property
    def is_over(self) -> bool:
        """There will be no more: it has ended, or the process does."""
        return self.has_ended or self._watch.is_closed

    async def next(self, timeout_s: float) -> bytes:
        """What there is now, or comes within the time; b"" otherwise."""
        watch = self._watch
        if not (watch.is_behind or watch.frames or watch.tokens or watch.is_closed):
            watch.bell.clear()
            with suppress(TimeoutError):
                async with asyncio.timeout(timeout_s):
                    await watch.bell.wait()
        events = await self._caught_up(timeout_s) if watch.is_behind else self._following_on()
        tokens = b"".join(watch.tokens)
        watch.tokens.clear()
        return b"".join([frame.sse for frame in events]) + tokens

    async def _caught_up(self, timeout_s: float) -> list[Frame]:
        """The next page of the log. What is recorded while it is read waits in the buffer."""
        self._watch.is_behind = False
        try:
            await self._live.start()
            events = await self._from_log()
        except Unavailable:
            self._watch.is_behind = True
            await asyncio.sleep(min(timeout_s, RETRY_S))
            return []
        return self._live.frames(events)

    def _following_on(self) -> list[Frame]:
        """The buffered frames that the client has not had; a hole among them sends it to the log."""
        taken: list[Frame] = []
        frames = self._watch.frames
        while frames and not self._watch.is_behind:
            frame = frames.popleft()
            if self._is_next(frame):
                taken.append(frame)
        return taken

    def _is_next(self, frame: Frame) -> bool:
        raise NotImplementedError

    async def _from_log(self) -> Sequence[Recorded]:
        raise NotImplementedError


class AllEvents(Subscription):
    """Every event of the log beyond a position, for ever."""

    def __init__(self, live: LiveEvents, watch: Watch, after: int) -> None:
        super().__init__(live, watch)
        self._at = after

    def _is_next(self, frame: Frame) -> bool:
        if frame.position > self._at + 1:
            self._watch.is_behind = True
        is_next = frame.position == self._at + 1
        self._at += is_next
        return is_next

    async def _from_log(self) -> Sequence[Recorded]:
        events = await self._live.log.read_all(self._at, PAGE)
        if events:
            self._at = events[-1].position
            self._watch.is_behind = self._watch.is_behind or len(events) == PAGE
        return events


class ExecutionEvents(Subscription):
    """The events of an execution beyond a position of the log, until its last.

    known   its events so far, as whoever asked has just read them
    """

    def __init__(self, live: LiveEvents, watch: Watch, known: Sequence[Recorded], after: int) -> None:
        super().__init__(live, watch)
        self._known = known
        self._stream = known[0].stream
        self._after = after
        self._version = 0

    def _is_next(self, frame: Frame) -> bool:
        if frame.version > self._version + 1:
            self._watch.is_behind = True
        if frame.version != self._version + 1:
            return False
        self._passed(frame.version, frame.tag)
        return frame.position > self._after

    async def _from_log(self) -> Sequence[Recorded]:
        events, self._known = self._known, ()
        if events:
            self._watch.is_behind = True
        else:
            events = await self._live.log.read_stream(self._stream, self._version)
        if events:
            self._passed(events[-1].version, events[-1].tag)
        return [recorded for recorded in events if recorded.position > self._after]

    def _passed(self, version: int, tag: str) -> None:
        self._version = version
        self.has_ended = tag in TERMINAL_TAGS
