"""The steps of one execution, as its detail shows them, and what each event changes of them.

Used by `execution_detail.py`, whose rows hold them.
"""

from __future__ import annotations

import msgspec

from domain.definition import ITEM
from domain.execution import (
    ApprovalRejected,
    ChildRequested,
    MapStarted,
    RouteChosen,
    StepCompleted,
    StepFailed,
    StepResolved,
    StepReused,
    StepScheduled,
    StepSkipped,
    StepStarted,
    StepSuspended,
    child_execution_id,
)
from projections.projection import Fact, later, tags

STEP_EVENTS = tags(
    ChildRequested,
    MapStarted,
    StepResolved,
    ApprovalRejected,
    StepScheduled,
    StepSkipped,
    RouteChosen,
    StepStarted,
    StepReused,
    StepSuspended,
    StepCompleted,
    StepFailed,
)


class Items(msgspec.Struct):
    """Of a map: how many items it has, how far they are, how often one has failed, and how many of those
    that are done were left out."""

    total: int
    begun: int = 0
    done: int = 0
    failures: int = 0
    left_out: int = 0


class StepRow(msgspec.Struct):
    """status: pending, scheduled, running, waiting, completed, failed, cancelled (had begun), skipped,
    rejected, or reused (of a fork: it had completed in its past).

    not_before  of a step that is scheduled with a delay: when it may begin
    route       where a router led
    child       of a `workflow` step: the execution that it has begun last
    """

    step: str
    status: str = "pending"
    turn: int = 0
    attempt: int = 0
    runner: str | None = None
    scheduled_at: str | None = None
    not_before: str | None = None
    started_at: str | None = None
    ended_at: str | None = None
    error: str | None = None
    route: str | None = None
    items: Items | None = None
    child: str | None = None


def change_step(steps: list[StepRow], fact: Fact) -> None:
    name = getattr(fact.event, "step", "")
    if all(known.step != name for known in steps):
        change_item(step_of(steps, name), fact)
        return
    match fact.event:
        case MapStarted() as event:
            step = step_of(steps, event.step)
            step.status, step.started_at = "running", fact.at
            step.items = step.items or Items(total=len(event.items))
        case StepScheduled() as event:
            step = step_of(steps, event.step)
            step.status, step.turn, step.scheduled_at = "scheduled", event.turn, fact.at
            step.not_before = later(fact.at, event.delay_s) if event.delay_s else None
            step.ended_at = step.error = None
        case StepSkipped() as event:
            step_of(steps, event.step).status = "skipped"
        case RouteChosen() as event:
            step = step_of(steps, event.step)
            step.status, step.ended_at, step.route = "completed", fact.at, event.then
        case StepStarted() as event:
            step = step_of(steps, event.step)
            step.status, step.turn, step.attempt = "running", event.turn, event.attempt
            step.runner, step.started_at, step.not_before = event.runner, fact.at, None
        case StepSuspended() as event:
            step_of(steps, event.step).status = "waiting"
        case ChildRequested() as event:
            step = step_of(steps, event.step)
            step.child, step.started_at = child_execution_id(fact.entity_id, event.child), fact.at
            step.ended_at = step.error = None
        case StepReused() as event:
            step_of(steps, event.step).status = "reused"
        case StepResolved() as event:
            step = step_of(steps, event.step)
            step.status, step.ended_at = "completed", fact.at
            step.error = event.failure.message if event.failure else None
        case ApprovalRejected() as event:
            rejected(steps, event, fact)
        case StepCompleted() as event:
            step = step_of(steps, event.step)
            step.status, step.ended_at = "completed", fact.at
        case StepFailed() as event:
            step = step_of(steps, event.step)
            step.status, step.ended_at, step.error = "failed", fact.at, event.failure.message


def rejected(steps: list[StepRow], event: ApprovalRejected, fact: Fact) -> None:
    """Refused, or sent back: then the steps are as if they had not begun."""
    step = step_of(steps, event.step)
    step.status, step.ended_at, step.route = "rejected", fact.at, event.then
    for name in event.retried:
        again = step_of(steps, name)
        again.status, again.ended_at, again.route, again.items = "pending", None, None, None


def pause_steps(steps: list[StepRow], fact: Fact) -> None:
    for step in steps:
        if step.status == "running" and step.items is None:
            step.status, step.scheduled_at = "scheduled", fact.at


def end_steps(steps: list[StepRow], fact: Fact) -> None:
    """With their execution. One that a router skipped has no end; one that was not reached has this one."""
    for step in steps:
        if step.status in ("scheduled", "running", "waiting"):
            step.status, step.ended_at = "cancelled", fact.at
        elif step.status == "pending":
            step.status, step.ended_at = "skipped", fact.at


def send_steps_back(steps: list[StepRow]) -> None:
    """What had not come to its end is as if it had not begun; the attempts of a step go on counting."""
    for step in steps:
        if step.status in ("failed", "cancelled") or (step.status == "skipped" and step.ended_at):
            step.status, step.ended_at, step.error = "pending", None, None


def change_item(row: StepRow, fact: Fact) -> None:
    """An item of a map is counted."""
    if row.items is None:
        return
    match fact.event:
        case StepScheduled(reason=None):
            row.items.begun += 1
        case ChildRequested(child=child):
            row.items.begun += child.startswith("1-")
        case StepCompleted():
            row.items.done += 1
        case StepResolved(failure=missed):
            row.items.done += 1
            row.items.begun = max(row.items.begun, row.items.done)
            if missed is not None:
                row.items.failures, row.error = row.items.failures + 1, missed.message
                row.items.left_out += 1
        case StepFailed(failure=failure, is_left_out=is_left_out):
            row.items.failures, row.error = row.items.failures + 1, failure.message
            row.items.done += is_left_out
            row.items.left_out += is_left_out


def step_of(steps: list[StepRow], name: str) -> StepRow:
    """The row of a step; of an item of a map, that of the map."""
    whole = next((step for step in steps if step.step == name), None)
    return whole or next(step for step in steps if step.step == name.rpartition(ITEM)[0])
