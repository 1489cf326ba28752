"""States of streams for the command path: folded once, remembered, and proved by the append that rests on
them.

Called by `application.commands` only. Its one rule: a remembered state is never trusted to refuse, only to
append: the log compares the versions of everything that a decision has read.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Generic, Protocol, TypeAlias, TypeVar

from application.ports import EventLog
from application.summing import read_from_sum
from domain.execution import RequestExecution
from domain.message import Aggregate, Command, Event, Recorded
from domain.registry import AGGREGATES, AnyCommand, event_of
from domain.schedule import CreateSchedule
from domain.subscription import CreateSubscription
from domain.workflow import CreateWorkflow

REMEMBERED_STREAMS = 10_000

_BY_CATEGORY: dict[str, Aggregate[Any, Any, Any]] = {
    aggregate.category: aggregate for aggregate in AGGREGATES
}
_BY_COMMAND: dict[type[Command], Aggregate[Any, Any, Any]] = {
    command: aggregate for aggregate in _BY_CATEGORY.values() for command in aggregate.commands
}
_CREATES = (RequestExecution, CreateWorkflow, CreateSchedule, CreateSubscription)

S = TypeVar("S")


def aggregate_of(command: AnyCommand) -> Aggregate[Any, Any, Any]:
    """The aggregate that decides on a command."""
    return _BY_COMMAND[type(command)]


class Snapshot(Generic[S]):
    """A stream's state at a version; position is that of its last event.

    Events that have just been appended are folded when the state is first asked for: a process that only
    takes commands in is seldom asked.
    """

    __slots__ = ("_evolve", "_newest", "_state", "position", "version")

    def __init__(self, state: S, version: int = 0, position: int = 0) -> None:
        self._state = state
        self.version = version
        self.position = position
        self._newest: Sequence[Event] = ()
        self._evolve: Callable[[S, Any], S] | None = None

    def followed_by(
        self, events: Sequence[Event], evolve: Callable[[S, Any], S], version: int, position: int
    ) -> Snapshot[S]:
        """The stream with more events; `version` and `position` are those of the last."""
        after = Snapshot(self.state, version, position)
        after._newest, after._evolve = events, evolve
        return after

    @property
    def state(self) -> S:
        if self._evolve is not None:
            for event in self._newest:
                self._state = self._evolve(self._state, event)
            self._newest, self._evolve = (), None
        return self._state


class Reads(Protocol):
    """States that a decision rests on; the append is refused when one of them has moved."""

    async def of(self, aggregate: Aggregate[S, Any, Any], entity_id: str) -> S: ...

    async def events(self, stream: str) -> Sequence[Recorded]:
        """A stream's events as they are in the log now; what comes behind them later refuses nothing."""
        ...


Preparation: TypeAlias = Callable[[Reads], Awaitable[AnyCommand]]
"""Makes the command from states it reads; made again on every try."""


class StreamStates:
    """Folded streams, the most recently used remembered. States are frozen, so sharing them is safe."""

    def __init__(self, log: EventLog, limit: int = REMEMBERED_STREAMS) -> None:
        self._log = log
        self._limit = limit
        self._known: OrderedDict[str, Snapshot[Any]] = OrderedDict()

    async def events(self, stream: str, after_version: int = 0) -> Sequence[Recorded]:
        return await self._log.read_stream(stream, after_version=after_version)

    async def load(self, stream: str, *, fresh: bool) -> Snapshot[Any]:
        known = self._known.get(stream)
        if known and not fresh:
            self._known.move_to_end(stream)
            return known
        aggregate = _BY_CATEGORY[stream.partition("-")[0]]
        snapshot = known or Snapshot(aggregate.initial)
        state, last = snapshot.state, None
        for last in await self._beyond(stream, snapshot.version, aggregate):
            state = aggregate.evolve(state, event_of(last))
        if last:
            snapshot = Snapshot(state, last.version, last.position)
            self.remember(stream, snapshot)
        return snapshot

    async def _beyond(
        self, stream: str, version: int, aggregate: Aggregate[Any, Any, Any]
    ) -> Sequence[Recorded]:
        if version:
            return await self._log.read_stream(stream, after_version=version)
        return await read_from_sum(self._log, stream, aggregate)

    def remembered(self, stream: str) -> Snapshot[Any] | None:
        return self._known.get(stream)

    def remember(self, stream: str, snapshot: Snapshot[Any]) -> None:
        known = self._known.get(stream)
        if known is None or known.version < snapshot.version:
            self._known[stream] = snapshot
        self._known.move_to_end(stream)
        while len(self._known) > self._limit:
            self._known.popitem(last=False)


class Try:
    """One try: its reads, each remembered as a guard. Fresh: everything read came from the log just now."""

    def __init__(self, streams: StreamStates, *, fresh: bool) -> None:
        self._streams = streams
        self.is_fresh = fresh
        self.read: dict[str, int] = {}

    async def of(self, aggregate: Aggregate[S, Any, Any], entity_id: str) -> S:
        stream = f"{aggregate.category}-{entity_id}"
        snapshot: Snapshot[S] = await self._streams.load(stream, fresh=self.is_fresh)
        self.read[stream] = snapshot.version
        return snapshot.state

    async def events(self, stream: str) -> Sequence[Recorded]:
        return await self._streams.events(stream)

    async def target(self, command: AnyCommand) -> Snapshot[Any]:
        """The state that decides; a stream that the command begins is empty until the log objects."""
        if not self.is_fresh and isinstance(command, _CREATES):
            return Snapshot(aggregate_of(command).initial)
        return await self._streams.load(command.stream, fresh=self.is_fresh)

    def guards(self, own: str) -> tuple[tuple[str, int], ...]:
        return tuple((stream, version) for stream, version in self.read.items() if stream != own)
