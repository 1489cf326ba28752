"""Events as they happen, for any number of watchers: one follower of the feed, the log for everything else.

Called by the routes that stream and by the delivery of webhooks. Its one rule: a watcher sees each event once
and in order. What is live only says that there is more; wherever a watcher does not follow on exactly (it
begins, it was slow, the feed had a hole or is away), it reads the log from where it is.

A watcher that is slow is not cut: its buffer is bounded, and one that overflows is dropped for the log
(docs/decisions/0011).
"""

from __future__ import annotations

import asyncio
from collections import defaultdict, deque
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import Protocol

import structlog

from application.workflow_index import WorkflowIndex
from domain.errors import KasalError, Unavailable
from domain.execution import (
    ExecutionArchived,
    ExecutionCancelled,
    ExecutionCompleted,
    ExecutionErased,
    ExecutionFailed,
    ExecutionTimedOut,
)
from domain.message import Recorded, tag_of

log = structlog.get_logger()

BUFFERED_EVENTS = 1_000
BUFFERED_TOKENS = 500
PAGE = 500
RETRY_S = 1.0

TERMINAL_TAGS = frozenset(
    tag_of(event)
    for event in (
        ExecutionCompleted,
        ExecutionFailed,
        ExecutionCancelled,
        ExecutionTimedOut,
        ExecutionErased,
        ExecutionArchived,
    )
)

Form = Callable[[Recorded], bytes]
"""How an event is written for a kind of client."""


class LogReader(Protocol):
    """The part of `EventLog` that streams read their history from."""

    async def read_stream(self, stream: str, after_version: int = 0) -> Sequence[Recorded]: ...

    async def read_all(self, after_position: int, limit: int) -> Sequence[Recorded]: ...

    async def head(self) -> int: ...


class Feed(Protocol):
    """The part of `EventFeed` that is followed; the log itself, where this process has it, will do."""

    def follow(
        self, after_position: int, *, tags: Sequence[str] = ()
    ) -> AsyncIterator[Sequence[Recorded]]: ...


class Frame:
    """An event, and its bytes in each form: made once, for all the clients that want them."""

    __slots__ = ("_written", "recorded")

    def __init__(self, recorded: Recorded) -> None:
        self.recorded = recorded
        self._written: dict[Form, bytes] = {}

    def written(self, form: Form) -> bytes:
        found = self._written.get(form)
        if found is None:
            found = self._written[form] = form(self.recorded)
        return found


class Watch:
    """What one client has not been sent yet. `is_behind`: the buffer does not follow on; read the log.

    wants  whether an event with a tag is for this client; others are passed over without waking it
    """

    def __init__(self, wants: Callable[[str], bool] | None = None) -> None:
        self.frames: deque[Frame] = deque()
        self.tokens: deque[bytes] = deque(maxlen=BUFFERED_TOKENS)
        self.is_behind = True
        self.is_closed = False
        self.bell = asyncio.Event()
        self._wants = wants
        self.passed = 0

    def push(self, frame: Frame) -> None:
        """passed: the last position that was looked at, wanted or not."""
        self.passed = frame.recorded.position
        if self._wants is not None and not self._wants(frame.recorded.tag):
            return
        if len(self.frames) >= BUFFERED_EVENTS:
            self.frames.clear()
            self.is_behind = True
        self.frames.append(frame)
        self.bell.set()

    def push_token(self, piece: bytes) -> None:
        """Tokens are a courtesy: of more than `BUFFERED_TOKENS` unsent ones the oldest are forgotten."""
        self.tokens.append(piece)
        self.bell.set()

    def close(self) -> None:
        self.is_closed = True
        self.bell.set()


class LiveEvents:
    """The one follower of this process. It follows only while somebody watches."""

    def __init__(self, log: LogReader, feed: Feed, *, limit: int = 10_000) -> None:
        """limit: watchers at once; one more is told to come again later."""
        self.log = log
        self.workflows = WorkflowIndex(log)
        self._feed = feed
        self._limit = limit
        self._watching = 0
        self._of_all: set[Watch] = set()
        self._of_stream: defaultdict[str, set[Watch]] = defaultdict(set)
        self._following: asyncio.Task[None] | None = None
        self._starting = asyncio.Lock()
        self._at = 0
        self._is_closed = False

    @property
    def is_following(self) -> bool:
        return self._following is not None

    def check_room(self) -> None:
        """Raises `Unavailable` while as many watch as may."""
        if self._watching >= self._limit:
            raise Unavailable(f"{self._limit} streams are open; expected fewer at once", retry_after_s=5)

    @contextmanager
    def watch(self, stream: str | None, wants: Callable[[str], bool] | None = None) -> Iterator[Watch]:
        """What is recorded from now on, of one stream or (None) of all. Raises as `check_room` does."""
        self.check_room()
        watches = self._of_all if stream is None else self._of_stream[stream]
        watch = Watch(wants)
        watch.is_closed = self._is_closed
        watches.add(watch)
        self._watching += 1
        try:
            yield watch
        finally:
            self._watching -= 1
            watches.discard(watch)
            if stream is not None and not watches:
                self._of_stream.pop(stream, None)
            if not self._of_all and not self._of_stream:
                self._stop()

    async def start(self) -> None:
        """Be sure that whatever the log does not hold yet will come. Raises `Unavailable`."""
        async with self._starting:
            if self._following is None and not self._is_closed:
                self._at = await self.log.head()
                self._following = asyncio.create_task(self._follow(), name="live events")

    async def close(self) -> None:
        """End every stream, each after what it was already given."""
        self._is_closed = True
        for watches in (self._of_all, *self._of_stream.values()):
            for watch in watches:
                watch.close()
        following, self._following = self._following, None
        if following is not None:
            following.cancel()
            await asyncio.wait([following])

    def _stop(self) -> None:
        if self._following is not None:
            self._following.cancel()
            self._following = None

    async def _follow(self) -> None:
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._follow_feed())
            tasks.create_task(self._follow_log())

    async def _follow_feed(self) -> None:
        while True:
            try:
                async for batch in self._feed.follow(self._at):
                    await self._take(batch)
            except Exception:
                log.warning("the live feed is away; the log serves meanwhile", exc_info=True)
            await asyncio.sleep(RETRY_S)

    async def _follow_log(self) -> None:
        """Where the feed brings nothing, ask the log whether there is something."""
        while True:
            at = self._at
            await asyncio.sleep(RETRY_S)
            if self._at == at:
                with suppress(KasalError, OSError):
                    await self._take_from_log()

    async def _take(self, batch: Sequence[Recorded]) -> None:
        """Deliver what follows on; what is missing before it, or in place of it, comes from the log."""
        new = [recorded for recorded in batch if recorded.position > self._at]
        if not new or new[0].position != self._at + 1 or new[-1].position != self._at + len(new):
            with suppress(Unavailable):
                await self._take_from_log()
        else:
            self._deliver(new)

    async def _take_from_log(self) -> None:
        """Page by page. The feed may have brought some of it when a page arrives."""
        while events := await self.log.read_all(self._at, PAGE):
            self._deliver(events)

    def _deliver(self, events: Sequence[Recorded]) -> None:
        """Of events that follow on, those that were not delivered meanwhile."""
        new = [recorded for recorded in events if recorded.position > self._at]
        self._at = max(self._at, events[-1].position)
        for frame in frames(new):
            for watch in self._of_all:
                watch.push(frame)
            for watch in self._of_stream.get(frame.recorded.stream, ()):
                watch.push(frame)


def frames(events: Iterable[Recorded]) -> list[Frame]:
    return [Frame(recorded) for recorded in events]
