"""What is so of an execution now: enough to decide the next command, nothing more. `evolve` holds no rule."""

from __future__ import annotations

from enum import StrEnum
from typing import assert_never

import msgspec
from msgspec.structs import replace

from domain.definition import Definition
from domain.execution.calls import (
    CallReused,
    ModelCallCompleted,
    ModelCallFailed,
    ModelCallStarted,
    ToolCallCompleted,
    ToolCallFailed,
    ToolCallStarted,
)
from domain.execution.events import (
    ExecutionCancelled,
    ExecutionCompleted,
    ExecutionEvents,
    ExecutionFailed,
    ExecutionPaused,
    ExecutionRequested,
    ExecutionResumed,
    ExecutionTimedOut,
    RouteChosen,
    StepCompleted,
    StepFailed,
    StepReleased,
    StepReused,
    StepScheduled,
    StepSkipped,
    StepStarted,
    StepSuspended,
    TaskCompleted,
    TaskFailed,
    TaskReused,
    TaskStarted,
)
from domain.execution.values import TaskOutput, Wait


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
        return self in (Status.COMPLETED, Status.FAILED, Status.CANCELLED, Status.TIMED_OUT)


class StepStatus(StrEnum):
    SCHEDULED = "scheduled"
    RUNNING = "running"
    WAITING = "waiting"
    COMPLETED = "completed"
    FAILED = "failed"
    SKIPPED = "skipped"

    @property
    def is_settled(self) -> bool:
        """The steps behind it need not wait for it any more."""
        return self in (StepStatus.COMPLETED, StepStatus.SKIPPED)

    @property
    def is_active(self) -> bool:
        """With a runner, or on the way to one."""
        return self in (StepStatus.SCHEDULED, StepStatus.RUNNING)


class Lease(msgspec.Struct, frozen=True):
    """Under which a runner has a step."""

    turn: int
    delivery: int


class StepState(msgspec.Struct, frozen=True):
    """One step of the graph that was scheduled, skipped, or began to wait.

    attempt     the newest; numbers are never used again
    recorded    entries that the newest attempt has reported
    without     tasks of its context that it does not see
    route       the step that a router leads to
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
    wait: Wait | None = None
    draining: Lease | None = None
    refused_at: int | None = None

    @property
    def lease(self) -> Lease | None:
        """Of the attempt that may still report, None when there is none."""
        return Lease(self.turn, self.delivery) if self.status is StepStatus.RUNNING else self.draining


class Execution(msgspec.Struct, frozen=True):
    """request: None before the execution is requested. outputs: by task, the newest attempt's."""

    status: Status | None = None
    request: ExecutionRequested | None = None
    steps: dict[str, StepState] = {}
    outputs: dict[str, TaskOutput] = {}

    @property
    def definition(self) -> Definition:
        """The pinned document; the execution must have been requested."""
        assert self.request is not None  # noqa: S101 - for the type checker; decide has refused it by now
        return self.request.definition

    @property
    def is_open(self) -> bool:
        return self.status is not None and not self.status.is_terminal


def evolve(state: Execution, event: ExecutionEvents) -> Execution:
    match event:
        case (
            TaskStarted()
            | TaskFailed()
            | ModelCallStarted()
            | ModelCallCompleted()
            | ModelCallFailed()
            | ToolCallStarted()
            | ToolCallCompleted()
            | ToolCallFailed()
        ):
            return recorded(state, event.step)
        case CallReused():
            return recorded(state, event.step) if event.attempt else state
        case TaskReused():
            return replace(state, outputs={**state.outputs, event.task: event.output})
        case StepReused():
            return with_step(state, event.step, StepState(StepStatus.COMPLETED, turn=0))
        case StepSkipped():
            return with_step(state, event.step, StepState(StepStatus.SKIPPED, turn=0))
        case RouteChosen():
            routed = StepState(StepStatus.COMPLETED, turn=0, route=event.then)
            return with_step(state, event.step, routed)
        case TaskCompleted():
            outputs = {**state.outputs, event.task: event.output}
            return recorded(replace(state, outputs=outputs), event.step)
        case StepScheduled() | StepStarted() | StepSuspended() | StepReleased():
            return moved(state, event)
        case StepCompleted():
            return at_rest(recorded(state, event.step, StepStatus.COMPLETED))
        case StepFailed():
            return at_rest(recorded(state, event.step, StepStatus.FAILED))
        case ExecutionRequested():
            return Execution(Status.PENDING, event)
        case ExecutionPaused():
            steps = {name: let_go(step, StepStatus.SCHEDULED) for name, step in state.steps.items()}
            return replace(state, status=Status.PAUSED, steps=steps)
        case ExecutionResumed():
            return at_rest(replace(state, status=Status.PENDING))
        case ExecutionCompleted():
            return replace(state, status=Status.COMPLETED)
        case ExecutionFailed():
            return replace(state, status=Status.FAILED)
        case ExecutionCancelled():
            return replace(state, status=Status.CANCELLED)
        case ExecutionTimedOut():
            return replace(state, status=Status.TIMED_OUT)
        case _:
            assert_never(event)


def moved(state: Execution, event: StepScheduled | StepStarted | StepSuspended | StepReleased) -> Execution:
    """A step went from one hand to another."""
    before = state.steps.get(event.step) or StepState(StepStatus.WAITING, turn=0)
    match event:
        case StepScheduled():
            status = state.status if state.status in (Status.RUNNING, Status.PAUSED) else Status.PENDING
            return with_step(replace(state, status=status), event.step, scheduled(before, event))
        case StepStarted():
            return with_step(replace(state, status=Status.RUNNING), event.step, started(before, event))
        case StepSuspended(wait=wait, refused=refused):
            step = replace(
                let_go(before, StepStatus.WAITING),
                status=StepStatus.WAITING,
                wait=wait,
                recorded=before.recorded + (refused or 1),
                refused_at=before.recorded if refused else None,
            )
            return at_rest(with_step(state, event.step, step))
        case StepReleased():
            step = replace(before, draining=None, recorded=before.recorded + 1)
            return with_step(state, event.step, step)


def scheduled(step: StepState, event: StepScheduled) -> StepState:
    """Attempts count on only where a runner may have vanished; what the step sees stays."""
    return replace(
        step,
        status=StepStatus.SCHEDULED,
        turn=event.turn,
        delivery=0,
        runner="",
        begun=step.begun if step.status.is_active else 0,
        without=step.without if step.turn else event.without,
        wait=None,
    )


def started(step: StepState, event: StepStarted) -> StepState:
    return StepState(
        StepStatus.RUNNING,
        event.turn,
        event.delivery,
        event.attempt,
        event.runner,
        without=step.without,
        begun=step.begun + 1,
    )


def let_go(step: StepState, status: StepStatus) -> StepState:
    """A step that a runner has: told to let go, in this status from now on. Another stays as it is."""
    if step.status is not StepStatus.RUNNING:
        return step
    return replace(step, status=status, draining=step.lease, begun=0)


def recorded(state: Execution, name: str, status: StepStatus | None = None) -> Execution:
    """One more entry of the step's current attempt."""
    step = state.steps[name]
    return with_step(state, name, replace(step, status=status or step.status, recorded=step.recorded + 1))


def at_rest(state: Execution) -> Execution:
    """WAITING when nothing is under way and something waits."""
    statuses = [step.status for step in state.steps.values()]
    is_waiting = StepStatus.WAITING in statuses and not any(status.is_active for status in statuses)
    if not is_waiting or state.status is Status.PAUSED:
        return state
    return replace(state, status=Status.WAITING)


def with_step(state: Execution, name: str, step: StepState) -> Execution:
    return replace(state, steps={**state.steps, name: step})
