"""Child workflows: an execution that another one has begun, and what both say of each other.

Part of `domain.execution.events`. Its one rule: what the parent's events say is what it wants of its child,
and what it has heard of it; the child's own stream says how it is.
"""

from __future__ import annotations

import re
from hashlib import sha256
from typing import Literal, TypeAlias

import msgspec

from domain.amounts import NOTHING, Amounts, bounds_of
from domain.execution.values import Failure
from domain.limits import Budget, DayBudget
from domain.message import Event
from domain.terms import Json

MAX_DEPTH = 8
"""Executions above and below each other, the first one included."""

CHILD_ID = re.compile(r"child-[0-9a-f]{32}")

Order: TypeAlias = Literal["cancel", "pause", "resume", "retry"]
ChildStatus: TypeAlias = Literal["completed", "failed", "cancelled", "timed_out", "refused"]
"""How a child has ended; refused: it was never begun."""


class Parent(msgspec.Struct, frozen=True, omit_defaults=True):
    """Whose child an execution is.

    child    its id within the parent
    depth    1 below an execution that has no parent
    per_day  what is bounded by the day of a workflow above it: the lowest of each limit when it was begun
    """

    execution_id: str
    step: str
    child: str
    depth: int = 1
    per_day: DayBudget | None = None


class PinnedChild(msgspec.Struct, frozen=True, omit_defaults=True):
    """Of a `workflow` step: the version that was the one to run when the execution began, and the limits of
    its document."""

    version: int
    budget: Budget = Budget()


class ChildRequested(Event, frozen=True, tag="execution.child_requested"):
    """A step wants its child. child: its id within this execution; see `child_execution_id`.

    budget  what the child may spend at most, where anything bounds it; reserved until it ends
    """

    step: str
    child: str
    workflow_id: str
    workflow_version: int
    inputs: dict[str, Json] = {}
    budget: Budget = Budget()


class ChildTold(Event, frozen=True, tag="execution.child_told"):
    """What a child is to do, because of what became of this execution.

    run  of `retry`: how often it is to have been retried by then
    """

    step: str
    child: str
    order: Order
    run: int = 0


class ChildEnded(Event, frozen=True, tag="execution.child_ended"):
    """What was heard of a child: how it has ended.

    run      how often it had been retried before
    spent    by it and its own children, since it was heard of last
    failure  why it did not complete
    """

    step: str
    child: str
    status: ChildStatus
    run: int = 0
    spent: Amounts = NOTHING
    failure: Failure | None = None


class ChildState(msgspec.Struct, frozen=True):
    """A child as its parent knows it.

    request   what it is begun with, until its end is heard of
    is_open   its end was not heard of, or it is to go on
    run       how often it is to have been retried, at least
    ended     the newest run whose end was heard of; -1 before the first
    spent     in all, as far as it was heard of
    is_taken  the step went on with what it gave, or without: it is not looked at again
    failure   what the step went on with, where it did not complete
    budget    what it may spend at most
    """

    step: str
    request: ChildRequested | None = None
    is_open: bool = True
    run: int = 0
    ended: int = -1
    status: str = ""
    spent: Amounts = NOTHING
    is_taken: bool = False
    failure: Failure | None = None
    budget: Budget = Budget()

    @property
    def left(self) -> Amounts:
        """What it may spend besides; nothing where nothing bounds it."""
        return bounds_of(self.budget).minus(self.spent).at_least(NOTHING)


def child_execution_id(parent_id: str, child: str) -> str:
    """The same from every process that begins it."""
    return f"child-{sha256(f'{parent_id} {child}'.encode()).hexdigest()[:32]}"


def is_child(execution_id: str) -> bool:
    """Whether an id is one that `child_execution_id` gives."""
    return CHILD_ID.fullmatch(execution_id) is not None


def wait_id_of(child: str, run: int) -> str:
    """Of the wait for a run of a child: another for each, so that an old timer ends nothing new."""
    return f"{child}.{run}" if run else child


def child_of_wait(wait_id: str) -> str:
    """The child that a wait is for."""
    return wait_id.partition(".")[0]
