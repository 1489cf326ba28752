"""What is so of an execution now: enough to decide the next command, nothing more.

Made by `evolve` (in `state`) from its events.
"""

from __future__ import annotations

from enum import StrEnum
from functools import reduce

import msgspec

from domain.amounts import least
from domain.definition import Definition
from domain.execution.archiving import ExecutionArchived
from domain.execution.budget import Account
from domain.execution.children import ChildState
from domain.execution.events import ExecutionEnd, ExecutionRequested
from domain.execution.values import TaskOutput, Wait
from domain.limits import Budget, DayBudget
from domain.terms import Json


class Status(StrEnum):
    """An execution's status, as clients see it.

    PENDING  a step waits for a runner, and none is with one
    WAITING  every step that could go on waits for something else: a person, a timer, ...
    """

    PENDING = "PENDING"
    RUNNING = "RUNNING"
    WAITING = "WAITING"
    PAUSED = "PAUSED"
    COMPLETED = "COMPLETED"
    FAILED = "FAILED"
    CANCELLED = "CANCELLED"
    TIMED_OUT = "TIMED_OUT"

    @property
    def is_terminal(self) -> bool:
        return self in TERMINAL


TERMINAL = (Status.COMPLETED, Status.FAILED, Status.CANCELLED, Status.TIMED_OUT)


class StepStatus(StrEnum):
    """PENDING: was sent back, and is as if it had not begun. REJECTED: an approval that was refused."""

    SCHEDULED = "scheduled"
    RUNNING = "running"
    WAITING = "waiting"
    COMPLETED = "completed"
    FAILED = "failed"
    SKIPPED = "skipped"
    REJECTED = "rejected"
    PENDING = "pending"

    @property
    def is_settled(self) -> bool:
        """The steps behind it need not wait for it any more."""
        return self in SETTLED

    @property
    def is_active(self) -> bool:
        """With a runner, or on the way to one."""
        return self in ACTIVE


SETTLED = (StepStatus.COMPLETED, StepStatus.SKIPPED, StepStatus.REJECTED)
ACTIVE = (StepStatus.SCHEDULED, StepStatus.RUNNING)


class Lease(msgspec.Struct, frozen=True):
    """Under which a runner has a step."""

    turn: int
    delivery: int
    runner: str = ""


class StepState(msgspec.Struct, frozen=True):
    """One step of the graph that was scheduled, skipped, or began to wait.

    attempt     the newest; numbers are never used again
    recorded    entries that the newest attempt has reported, but for its last word, that it lets go
    without     tasks of its context that it does not see
    route       the step that a router (or a rejection) leads to
    failures    since it was scheduled first, or its execution was retried
    begun       attempts since the step was last scheduled for another reason than a runner that vanished
    draining    the lease of the newest attempt, after it was told to let go and before it has
    refused_at  entries recorded before the report whose beginnings were refused by a suspension
    """

    status: StepStatus
    turn: int
    delivery: int = 0
    attempt: int = 0
    runner: str = ""
    recorded: int = 0
    without: tuple[str, ...] = ()
    route: str = ""
    begun: int = 0
    failures: int = 0
    wait: Wait | None = None
    draining: Lease | None = None
    refused_at: int | None = None

    @property
    def lease(self) -> Lease | None:
        """Of the attempt that may still report, None when there is none."""
        is_running = self.status is StepStatus.RUNNING
        return Lease(self.turn, self.delivery, self.runner) if is_running else self.draining


class ApprovalState(msgspec.Struct, frozen=True):
    """given: who has agreed so far. decision: how it ended, "" while it is open. answer: as conditions see
    it."""

    step: str
    given: tuple[str, ...] = ()
    decision: str = ""
    answer: dict[str, Json] = {}


RESULTS_OF = 128
"""Items whose results share a dict: this bounds what is copied for one more result, not the list's length."""


class MapState(msgspec.Struct, frozen=True):
    """
    items    () of one that was sent back, and has not begun again
    begun    how many of them were scheduled; done: are through
    results  what they gave, by item: dicts of at most `RESULTS_OF`, by number // RESULTS_OF
    since    turns and attempts of its items have greater numbers: it was sent back
    highest  turn or attempt of an item that is no step any more
    """

    items: tuple[Json, ...]
    begun: int = 0
    done: int = 0
    results: dict[int, dict[int, TaskOutput]] = {}
    since: int = 0
    highest: int = 0

    def result(self, number: int) -> TaskOutput | None:
        """None of an item that was left out."""
        return self.results.get(number // RESULTS_OF, {}).get(number)

    def with_result(self, number: int, output: TaskOutput | None) -> MapState:
        """One more item is through."""
        block = number // RESULTS_OF
        results = self.results
        if output is not None:
            results = {**results, block: {**results.get(block, {}), number: output}}
        return msgspec.structs.replace(self, done=self.done + 1, results=results)


class Execution(msgspec.Struct, frozen=True):
    """request: None before the execution is requested.

    outputs    by task, the newest attempt's; of a step without tasks under its name
    approvals  by their ids
    signals    by name, those that no step has taken yet, oldest first
    remarks    by step, what was said when its result was sent back
    maps       by step, those that have begun, with what their items gave that are no steps any more
    children   by their ids within the execution, in the order in which they were wanted
    is_held    it waits for a slot of its concurrency key, and nothing of it begins
    is_erased  its contents are gone; nothing can be done to it any more
    raised     the budget, in place of the document's; raised_per_day: that of the day
    archived   it has left the read tables, and nothing happens to it any more
    retries    how often it was retried
    end        the event that it has ended with
    is_paused_by_parent  and is resumed with it
    """

    status: Status | None = None
    request: ExecutionRequested | None = None
    steps: dict[str, StepState] = {}
    outputs: dict[str, TaskOutput] = {}
    approvals: dict[str, ApprovalState] = {}
    signals: dict[str, tuple[Json, ...]] = {}
    remarks: dict[str, tuple[str, ...]] = {}
    maps: dict[str, MapState] = {}
    children: dict[str, ChildState] = {}
    is_held: bool = False
    is_erased: bool = False
    account: Account = Account()
    raised: Budget | None = None
    raised_per_day: DayBudget | None = None
    archived: ExecutionArchived | None = None
    retries: int = 0
    end: ExecutionEnd | None = None
    is_paused_by_parent: bool = False

    @property
    def budget(self) -> Budget:
        """The limits that hold now."""
        return self.raised or self.definition.limits.budget

    @property
    def per_day(self) -> DayBudget | None:
        """The limits of the workflow and day that hold now; None for a document that is saved nowhere."""
        if self.request is None or self.request.workflow_id is None:
            return None
        return self.raised_per_day or self.definition.limits.per_day

    @property
    def day_bounds(self) -> DayBudget | None:
        """What a day bounds at all: its own limits, and of a child those of the workflows above it."""
        parent = self.request.parent if self.request else None
        bounds = [each for each in (self.per_day, parent.per_day if parent else None) if each is not None]
        return reduce(least, bounds) if bounds else None

    @property
    def definition(self) -> Definition:
        """The pinned document; the execution must have been requested."""
        assert self.request is not None  # noqa: S101 - for the type checker; decide has refused it by now
        return self.request.definition

    @property
    def is_open(self) -> bool:
        return self.status is not None and not self.status.is_terminal
