"""What is so of an execution now: enough to decide the next command, nothing more. `evolve` holds no rule."""

from __future__ import annotations

from enum import StrEnum
from typing import assert_never

import msgspec

from domain.definition import Definition
from domain.execution.events import (
    CallReused,
    ExecutionCancelled,
    ExecutionCompleted,
    ExecutionEvents,
    ExecutionFailed,
    ExecutionRequested,
    ModelCallCompleted,
    ModelCallFailed,
    ModelCallStarted,
    RouteChosen,
    StepCompleted,
    StepFailed,
    StepReused,
    StepScheduled,
    StepSkipped,
    StepStarted,
    TaskCompleted,
    TaskFailed,
    TaskOutput,
    TaskReused,
    TaskStarted,
    ToolCallCompleted,
    ToolCallFailed,
    ToolCallStarted,
)


class Status(StrEnum):
    """An execution's status, as clients see it."""

    PENDING = "PENDING"
    RUNNING = "RUNNING"
    COMPLETED = "COMPLETED"
    FAILED = "FAILED"
    CANCELLED = "CANCELLED"

    @property
    def is_terminal(self) -> bool:
        return self not in (Status.PENDING, Status.RUNNING)


class StepStatus(StrEnum):
    SCHEDULED = "scheduled"
    RUNNING = "running"
    COMPLETED = "completed"
    FAILED = "failed"
    SKIPPED = "skipped"

    @property
    def is_settled(self) -> bool:
        """The steps behind it need not wait for it any more."""
        return self in (StepStatus.COMPLETED, StepStatus.SKIPPED)


class StepState(msgspec.Struct, frozen=True):
    """One step of the graph that was begun, or skipped.

    recorded  entries that the current attempt has reported
    without   tasks of its context that it does not see
    route     the step that a router leads to
    """

    status: StepStatus
    turn: int
    delivery: int = 0
    attempt: int = 0
    runner: str = ""
    recorded: int = 0
    without: tuple[str, ...] = ()
    route: str = ""


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
            outputs = {**state.outputs, event.task: event.output}
            return Execution(state.status, state.request, state.steps, outputs)
        case StepReused():
            return with_step(state, event.step, StepState(StepStatus.COMPLETED, turn=0))
        case StepScheduled():
            return with_step(state, event.step, scheduled(state.steps.get(event.step), event))
        case StepSkipped():
            return with_step(state, event.step, StepState(StepStatus.SKIPPED, turn=0))
        case RouteChosen():
            routed = StepState(StepStatus.COMPLETED, turn=0, route=event.then)
            return with_step(state, event.step, routed)
        case StepStarted():
            return with_status(with_step(state, event.step, started(state, event)), Status.RUNNING)
        case TaskCompleted():
            outputs = {**state.outputs, event.task: event.output}
            return recorded(Execution(state.status, state.request, state.steps, outputs), event.step)
        case StepCompleted():
            return recorded(state, event.step, StepStatus.COMPLETED)
        case StepFailed():
            return recorded(state, event.step, StepStatus.FAILED)
        case ExecutionRequested():
            return Execution(Status.PENDING, event)
        case ExecutionCompleted():
            return with_status(state, Status.COMPLETED)
        case ExecutionFailed():
            return with_status(state, Status.FAILED)
        case ExecutionCancelled():
            return with_status(state, Status.CANCELLED)
        case _:
            assert_never(event)


def scheduled(before: StepState | None, event: StepScheduled) -> StepState:
    """A new turn; attempts go on counting, and what the step sees stays."""
    attempt, without = (before.attempt, before.without) if before else (0, event.without)
    return StepState(StepStatus.SCHEDULED, event.turn, attempt=attempt, without=without)


def started(state: Execution, event: StepStarted) -> StepState:
    without = state.steps[event.step].without
    return StepState(
        StepStatus.RUNNING, event.turn, event.delivery, event.attempt, event.runner, without=without
    )


def recorded(state: Execution, step: str, status: StepStatus = StepStatus.RUNNING) -> Execution:
    """One more entry of the step's current attempt."""
    old = state.steps[step]
    new = StepState(status, old.turn, old.delivery, old.attempt, old.runner, old.recorded + 1, old.without)
    return with_step(state, step, new)


def with_step(state: Execution, step: str, new: StepState) -> Execution:
    return Execution(state.status, state.request, {**state.steps, step: new}, state.outputs)


def with_status(state: Execution, status: Status) -> Execution:
    return Execution(status, state.request, state.steps, state.outputs)
