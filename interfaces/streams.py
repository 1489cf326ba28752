"""Events as they happen, for any number of clients: one follower of the feed, the log for everything else.

Called by the routes that stream. Its one rule: a client sees each event once and in order. What is live only
says that there is more; wherever a client does not follow on exactly (it begins, it was slow, the feed had a
hole or is away), it reads the log from where it is.

No client is ever cut for being slow: its buffer is bounded, and one that overflows is dropped for the log.
"""

from __future__ import annotations

import asyncio
from collections import defaultdict, deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import Protocol

import msgspec
import structlog

from application.ports import EventFeed
from domain.errors import KasalError, Unavailable
from domain.execution import ExecutionCancelled, ExecutionCompleted, ExecutionFailed
from domain.message import Recorded, tag_of

log = structlog.get_logger()

BUFFERED_EVENTS = 1_000
BUFFERED_TOKENS = 500
PAGE = 500
RETRY_S = 1.0

TERMINAL_TAGS = frozenset(
    tag_of(event) for event in (ExecutionCompleted, ExecutionFailed, ExecutionCancelled)
)


class LogReader(Protocol):
    """The part of `EventLog` that streams read their history from."""

    async def read_stream(self, stream: str, after_version: int = 0) -> Sequence[Recorded]: ...

    async def read_all(self, after_position: int, limit: int) -> Sequence[Recorded]: ...

    async def head(self) -> int: ...


class Typed(msgspec.Struct, frozen=True):
    """What the name of a server-sent event is taken from."""

    type: str


LINE_ENDS = (
    (b"\n", b" "),
    (b"\r", b" "),
    ("\u0085".encode(), b"\\u0085"),
    ("\u2028".encode(), b"\\u2028"),
    ("\u2029".encode(), b"\\u2029"),
)
"""What ends a line, by the standard or to a client that knows Unicode; in JSON each has a spelling."""


def one_line(document: bytes) -> bytes:
    """The same JSON document without anything that a reader of lines might take for the end of one."""
    for end, spelling in LINE_ENDS:
        document = document.replace(end, spelling)
    return document


class Frame:
    """An event, and its bytes as a server-sent event: made once, for all the clients that want them."""

    __slots__ = ("_encode", "_recorded", "_sse", "position", "stream", "tag", "version")

    def __init__(self, recorded: Recorded, encode: Callable[[Recorded], bytes]) -> None:
        self.position = recorded.position
        self.stream = recorded.stream
        self.version = recorded.version
        self.tag = recorded.tag
        self._recorded = recorded
        self._encode = encode
        self._sse: bytes | None = None

    @property
    def sse(self) -> bytes:
        """`id` is the position, `event` the CloudEvent's type, `data` the CloudEvent."""
        if self._sse is None:
            data = one_line(self._encode(self._recorded))
            name = _typed.decode(data).type.encode()
            self._sse = b"id: %d\nevent: %b\ndata: %b\n\n" % (self.position, name, data)
        return self._sse


_typed = msgspec.json.Decoder(Typed)


class Watch:
    """What one client has not been sent yet. `is_behind`: the buffer does not follow on; read the log."""

    def __init__(self) -> None:
        self.frames: deque[Frame] = deque()
        self.tokens: deque[bytes] = deque(maxlen=BUFFERED_TOKENS)
        self.is_behind = True
        self.is_closed = False
        self.bell = asyncio.Event()

    def push(self, frame: Frame) -> None:
        if len(self.frames) >= BUFFERED_EVENTS:
            self.frames.clear()
            self.is_behind = True
        self.frames.append(frame)
        self.bell.set()

    def push_token(self, piece: bytes) -> None:
        """Tokens are a courtesy: of more than `BUFFERED_TOKENS` unsent ones the oldest are forgotten."""
        self.tokens.append(b"event: token\ndata: %b\n\n" % one_line(piece))
        self.bell.set()

    def close(self) -> None:
        self.is_closed = True
        self.bell.set()


class LiveEvents:
    """The one follower of this process. It follows only while somebody watches."""

    def __init__(self, log: LogReader, feed: EventFeed, encode: Callable[[Recorded], bytes]) -> None:
        self.log = log
        self._feed = feed
        self._encode = encode
        self._of_all: set[Watch] = set()
        self._of_stream: defaultdict[str, set[Watch]] = defaultdict(set)
        self._following: asyncio.Task[None] | None = None
        self._starting = asyncio.Lock()
        self._at = 0
        self._is_closed = False

    @property
    def is_following(self) -> bool:
        return self._following is not None

    def frames(self, events: Iterable[Recorded]) -> list[Frame]:
        return [Frame(recorded, self._encode) for recorded in events]

    @contextmanager
    def watch(self, stream: str | None) -> Iterator[Watch]:
        """What is recorded from now on, of one stream or (None) of all."""
        watches = self._of_all if stream is None else self._of_stream[stream]
        watch = Watch()
        watch.is_closed = self._is_closed
        watches.add(watch)
        try:
            yield watch
        finally:
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
        for frame in self.frames(new):
            for watch in self._of_all:
                watch.push(frame)
            for watch in self._of_stream.get(frame.stream, ()):
                watch.push(frame)
