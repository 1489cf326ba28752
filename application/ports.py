"""What the application asks of the world. A port exists only where two adapters exist.

EventLog    memory, SQLite, PostgreSQL          infrastructure/event_log/ (in `log_port`; also `ContentStore`)
EventFeed   memory, JetStream                   infrastructure/nats/
WorkQueue   memory, JetStream                   infrastructure/nats/
CrewEngine  CrewAI, no-op (benchmarks, tests)   infrastructure/crew/
Timers      memory, JetStream                   infrastructure/nats/ (the port is in `application.timers`)
Clock       system, fixed (tests)               infrastructure/clock.py
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from datetime import datetime
from typing import Protocol

import msgspec

from application.log_port import (
    MAX_EVENT_BYTES,
    Append,
    Appended,
    CommandRecord,
    EventLog,
    NewEvent,
    Replayed,
)
from domain.catalog import Model
from domain.definition import Definition, Json
from domain.errors import Unavailable
from domain.execution import (
    Journaled,
    Origin,
    Progress,
    StepCompleted,
    StepFailed,
    TaskOutput,
    TaskReviewed,
    ToolCallStarted,
)
from domain.message import Recorded

__all__ = [
    "MAX_EVENT_BYTES",
    "Append",
    "Appended",
    "Assignment",
    "Clock",
    "CommandRecord",
    "Crashed",
    "CrewEngine",
    "Delivery",
    "EventFeed",
    "EventLog",
    "FeedMoved",
    "FeedTrimmed",
    "Handler",
    "NewEvent",
    "PastReview",
    "Prior",
    "Replayed",
    "Reporter",
    "Stopped",
    "UnknownCall",
    "Work",
    "WorkQueue",
]


class FeedMoved(Exception):
    """The page does not follow the feed's last position: another relay was faster, or a tail was lost."""


class FeedTrimmed(Unavailable):
    """The feed does not hold any more what a follower with tags begins with, who could not see the hole."""


class EventFeed(Protocol):
    """The fenced copy of the log that others follow; its sequence is the log's position."""

    async def last_position(self) -> int | None:
        """The position of the last event in the feed; None when the feed does not exist."""
        ...

    async def create(self, first_position: int) -> None:
        """Make the feed, so that its next event is `first_position`. One that exists is left as it is."""
        ...

    async def publish(self, page: Sequence[Recorded]) -> None:
        """Append a page (consecutive positions). `FeedMoved`: it does not follow; read the last position.

        A page whose beginning is in already may be completed instead.
        """
        ...

    def follow(self, after_position: int, *, tags: Sequence[str] = ()) -> AsyncIterator[Sequence[Recorded]]:
        """Batches of events beyond a position, in order, for ever; without `tags` every event.

        Reconnects by itself. Yields what the feed has: a hole (a feed that begins later) is for the caller to
        see by the positions; with `tags` it raises `FeedTrimmed`. An empty batch says: nothing new for a
        while.
        """
        ...


class Work(msgspec.Struct, frozen=True, kw_only=True):
    """A step of an execution that is ready to run.

    priority       0..9; the higher is taken first
    turn           how often the step was scheduled; with the delivery number it tells old from new claims
    delivered      how often the turn was delivered by a queue that was emptied since
    tenant, *_id   of the event that scheduled the step; everything that the runner reports carries them on
    """

    execution_id: str
    step: str
    turn: int
    delivered: int = 0
    queue: str = "default"
    priority: int = 5
    tenant: str = "default"
    correlation_id: str | None = None
    causation_id: str | None = None
    traceparent: str | None = None


class Delivery(Protocol):
    """A piece of work, leased. The lease ends by itself unless `extend` is called within the lease time."""

    @property
    def work(self) -> Work: ...

    @property
    def number(self) -> int:
        """1 for the first delivery of this turn; more after a lease was lost or the work was handed back."""
        ...

    async def extend(self) -> None:
        """Keep the lease (JetStream's in-progress)."""
        ...

    async def done(self) -> None:
        """The work has ended, one way or another: never deliver it again."""
        ...

    async def hand_back(self, delay_s: float = 0) -> None:
        """Let another runner take it."""
        ...

    def let_go(self) -> None:
        """Somebody else has the work: forget it, and say nothing to the queue."""
        ...


class WorkQueue(Protocol):
    """Steps that wait for a runner: each is leased to one, and comes again when the lease is lost."""

    async def enqueue(self, work: Work) -> None:
        """Add work; nothing happens while the queue holds the same (execution, step, turn) already."""
        ...

    async def empty(self) -> None:
        """Forget all work, whoever has it; the caller puts back what is open. Raises `Unavailable`."""
        ...

    async def incarnation(self) -> str:
        """Changes when the queue may have lost work: its store was made anew, or its server was away."""
        ...

    async def take(self, queues: Sequence[str], timeout_s: float) -> Delivery | None:
        """The next piece of work, the highest priority first at most of the times; None after `timeout_s`."""
        ...


class Prior(msgspec.Struct, frozen=True, tag_field="type", tag="Prior", omit_defaults=True):
    """A call's outcome in the past that a fork has. is_edited: with the result that was given instead."""

    origin: Origin
    outcome: Journaled
    is_edited: bool = False


class UnknownCall(msgspec.Struct, frozen=True, omit_defaults=True):
    """A tool call that was begun, and no more was heard. begun_by: the execution, of a fork's past, under
    whose key it went out; "": the step's own."""

    intent: ToolCallStarted
    begun_by: str = ""


class PastReview(msgspec.Struct, frozen=True):
    """What a person said of an output. shown: SHA-256 (hex) of what they were shown of it."""

    said: TaskReviewed
    shown: str


class Assignment(msgspec.Struct, frozen=True, kw_only=True):
    """All that a runner needs to run one step; it never asks a database.

    attempt  the fencing number that every report of this run carries
    outputs  by task of an earlier step: those that this step's tasks have as context
    remarks  what people said who sent the step's result back, oldest first
    journal  the calls whose outcome is known: of earlier attempts, then of the past that a fork has; in order
    done     tasks of this step that a fork has taken over: not worked on, their outputs are in `outputs`
    former_models, is_what_if  see `ForkedFrom`
    unknown  tool calls of earlier attempts whose outcome nobody knows, in the past of a fork too
    reviews  what people said of the outputs of the step's tasks, in the past of a fork too
    """

    execution_id: str
    step: str
    attempt: int
    definition: Definition
    inputs: dict[str, Json]
    models: dict[str, Model]
    default_model: str | None = None
    outputs: dict[str, TaskOutput] = {}
    remarks: tuple[str, ...] = ()
    journal: tuple[Journaled | Prior, ...] = ()
    is_fork: bool = False
    done: tuple[str, ...] = ()
    former_models: dict[str, tuple[Model, ...]] = {}
    is_what_if: bool = False
    unknown: tuple[UnknownCall, ...] = ()
    reviews: tuple[PastReview, ...] = ()
    tenant: str = "default"

    @property
    def has_past(self) -> bool:
        """Something may be known of the step's calls already."""
        return self.attempt > 1 or self.is_fork


class Stopped(BaseException):
    """The attempt has no authority any more (cancelled, outdated, finished): stop, report nothing.

    A BaseException, so that no `except Exception` between a model call and the engine swallows it.
    is_over: the work itself has ended too; otherwise somebody else may have it, and acknowledges it.
    is_draining: only what would begin something is refused; what is in flight is waited for and reported.
    """

    def __init__(self, reason: str, *, is_over: bool = False, is_draining: bool = False) -> None:
        super().__init__(reason)
        self.is_over = is_over
        self.is_draining = is_draining


class Crashed(Stopped):
    """What ran the step has ended under it, and nothing else: another attempt may begin at once."""


class Reporter(Protocol):
    """Where an engine says what happens, from its event loop."""

    async def record(self, *entries: Progress, wait: bool = True) -> None:
        """Returns when the entries are in the log; those that wait go together.

        Raises `Stopped`; one that `is_draining` for entries that would begin something (see `Drained`).
        Raises `TooLarge` for an entry that no event or content has room for, and records nothing of it.
        wait: False for what another report follows at once, which then carries it; returns at once.
        """
        ...

    def tokens(self, call: str, text: str) -> None:
        """A piece of a streamed answer: transient, may be lost, never an event. Safe from any thread."""
        ...


class CrewEngine(Protocol):
    """Runs the crew of one step."""

    async def run(self, assignment: Assignment, reporter: Reporter) -> StepCompleted | StepFailed:
        """Report tasks and calls as they happen; return how the step ended (the caller reports that).

        Raises `Stopped` when a report did; where that `is_draining`, not before the calls in flight have
        ended and are reported. On cancellation of the task it stops at the next call.
        """
        ...


class Clock(Protocol):
    """Time and ids, so that tests can hold both still."""

    def now(self) -> datetime:
        """UTC, aware."""
        ...

    def new_id(self) -> str:
        """A UUIDv7, as text: sorts by time of creation."""
        ...


Handler = Callable[[bytes], Awaitable[bytes]]
"""Answers one request of the command channel: JSON in, JSON out. Never raises for what a client sent."""
