"""What can have happened to an execution. Tags are stored and never renamed."""

from __future__ import annotations

from typing import TypeAlias

from domain.catalog import Model
from domain.definition import Definition, Json
from domain.execution.admission import ExecutionAdmitted, ExecutionHeld
from domain.execution.answers import CallSettled, TaskReviewed
from domain.execution.approvals import (
    ApprovalGiven,
    ApprovalRejected,
    ApprovalRequested,
    MapStarted,
    SignalReceived,
    StepResolved,
)
from domain.execution.archiving import ExecutionArchived
from domain.execution.calls import (
    CallReused,
    ModelCallCompleted,
    ModelCallFailed,
    ModelCallStarted,
    StepEvent,
    ToolCallCompleted,
    ToolCallFailed,
    ToolCallStarted,
)
from domain.execution.children import ChildEnded, ChildRequested, ChildTold, Parent, PinnedChild
from domain.execution.forks import ForkedFrom
from domain.execution.values import Failure, TaskOutput, Wait
from domain.limits import Budget, DayBudget
from domain.message import Event


class ExecutionRequested(Event, frozen=True, tag="execution.requested"):
    """Everything the run needs is pinned here; later changes of workflow or catalogue do not reach it.

    workflow_id, workflow_version  None for an inline definition
    models                         the catalogue's entries for the models that the agents use
    default_model                  for agents that name none
    forked_from                    None for an execution with no other's past
    parent                         None for an execution that is nobody's child
    children                       by `workflow` step: what it will run
    """

    name: str
    definition: Definition
    inputs: dict[str, Json]
    models: dict[str, Model]
    default_model: str | None = None
    workflow_id: str | None = None
    workflow_version: int | None = None
    forked_from: ForkedFrom | None = None
    queue: str = "default"
    priority: int = 5
    parent: Parent | None = None
    children: dict[str, PinnedChild] = {}


class StepScheduled(Event, frozen=True, tag="execution.step_scheduled"):
    """The step may run.

    turn     1 the first time; more when it was scheduled again. reason: why again
    without  tasks of its context that had no output the first time, because their step was skipped or still
             ran; the step never sees them, so that it runs the same whenever it runs again
    delay_s  not before so many seconds after this event
    """

    step: str
    turn: int
    reason: str | None = None
    without: tuple[str, ...] = ()
    delay_s: float = 0
    queue: str = "default"
    priority: int = 5


class StepSkipped(Event, frozen=True, tag="execution.step_skipped"):
    """The step will not run: no router led to it, or everything that it comes after was skipped."""

    step: str


class RouteChosen(Event, frozen=True, tag="execution.route_chosen"):
    """A router is done. then: the step that follows; when: the condition that held, None: `otherwise`.

    seen  what the conditions looked at up to then, by path; of a long value the beginning
    """

    step: str
    then: str
    when: str | None = None
    seen: dict[str, Json] = {}


class StepStarted(Event, frozen=True, tag="execution.step_started"):
    """A runner has the step. attempt: the fencing number, 1.. per step; delivery: which lease of the turn."""

    step: str
    turn: int
    delivery: int
    attempt: int
    runner: str


class TaskStarted(StepEvent, frozen=True, tag="execution.task_started"):
    task: str
    agent: str


class TaskCompleted(StepEvent, frozen=True, tag="execution.task_completed"):
    task: str
    output: TaskOutput
    duration_ms: int


class TaskFailed(StepEvent, frozen=True, tag="execution.task_failed"):
    task: str
    failure: Failure
    duration_ms: int


class TaskReused(Event, frozen=True, tag="execution.task_reused"):
    """A task of a fork that is done already: it had completed in the past that the fork has."""

    step: str
    task: str
    output: TaskOutput


class StepReused(Event, frozen=True, tag="execution.step_reused"):
    """A step of a fork that is done already, with all its tasks."""

    step: str


class StepCompleted(StepEvent, frozen=True, tag="execution.step_completed"):
    """The crew is through; what its tasks produced stands in their own events."""


class StepFailed(StepEvent, frozen=True, tag="execution.step_failed"):
    """is_left_out: an item of a map that goes on without it; null stands in its place."""

    failure: Failure
    is_left_out: bool = False


class StepSuspended(StepEvent, frozen=True, tag="execution.step_suspended"):
    """The step waits, and holds no process. A command of the wait's kind ends it; then it is scheduled again.

    attempt  that was under way; 0 for a step that no runner works on
    refused  entries of the runner's report that were not recorded, because they would have begun something
    """

    wait: Wait
    refused: int = 0


class StepReleased(StepEvent, frozen=True, tag="execution.step_released"):
    """The attempt that was told to let go has: it reports nothing more."""


class ExecutionPaused(Event, frozen=True, tag="execution.paused"):
    """Nothing new begins. What is in flight may still be reported. by_parent: as its parent is paused."""

    reason: str = ""
    by_parent: bool = False


class ExecutionResumed(Event, frozen=True, tag="execution.resumed"):
    """What was under way is scheduled again, by events of its own."""


class BudgetRaised(Event, frozen=True, tag="execution.budget_raised"):
    """budget: all the limits that hold from now on. per_day: those of the workflow and day, where they are
    others now."""

    budget: Budget
    per_day: DayBudget | None = None


class ExecutionRetried(Event, frozen=True, tag="execution.retried"):
    """It had failed or timed out, and goes on: what had not completed begins again, by events of its own.

    timeout_s  the limit of its time, which is counted anew
    """

    timeout_s: float | None = None


class ExecutionCompleted(Event, frozen=True, tag="execution.completed"):
    """output: of the last step that no other comes after."""

    output: TaskOutput


class ExecutionFailed(Event, frozen=True, tag="execution.failed"):
    failure: Failure
    step: str | None = None


class ExecutionCancelled(Event, frozen=True, tag="execution.cancelled"):
    reason: str = ""


class ExecutionTimedOut(Event, frozen=True, tag="execution.timed_out"):
    """It was pending or running for longer than its document allows: timeout_s."""

    timeout_s: float


ExecutionEnd: TypeAlias = ExecutionCompleted | ExecutionFailed | ExecutionCancelled | ExecutionTimedOut
"""How an execution can end."""


class ExecutionErased(Event, frozen=True, tag="execution.erased"):
    """Its contents are gone: with this event the key was destroyed that they were sealed with.

    reason  in the words of whoever erased it; it is no content, and stays
    """

    reason: str = ""


Progress: TypeAlias = (
    TaskStarted
    | TaskCompleted
    | TaskFailed
    | ModelCallStarted
    | ModelCallCompleted
    | ModelCallFailed
    | ToolCallStarted
    | ToolCallCompleted
    | ToolCallFailed
    | CallReused
    | StepCompleted
    | StepFailed
    | StepSuspended
    | StepReleased
)
"""What a runner may report."""

Journaled: TypeAlias = ModelCallCompleted | ToolCallCompleted | ToolCallFailed
"""A call whose outcome is known: when the crew runs again the journal answers it, and it is never sent."""

Drained: TypeAlias = (
    ModelCallCompleted
    | ModelCallFailed
    | ToolCallCompleted
    | ToolCallFailed
    | CallReused
    | TaskCompleted
    | StepReleased
)
"""What an attempt may still report after it was told to let go: how what it had begun came out."""

TakenOver: TypeAlias = CallReused | TaskReused | StepReused | SignalReceived
"""What a fork has of the past it began with."""

ExecutionEvents: TypeAlias = (
    ExecutionRequested
    | ExecutionHeld
    | ExecutionAdmitted
    | TaskReused
    | StepReused
    | StepScheduled
    | StepSkipped
    | RouteChosen
    | ApprovalRequested
    | ApprovalGiven
    | ApprovalRejected
    | SignalReceived
    | StepResolved
    | MapStarted
    | ChildRequested
    | ChildTold
    | ChildEnded
    | StepStarted
    | Progress
    | BudgetRaised
    | ExecutionEnd
    | ExecutionPaused
    | ExecutionResumed
    | ExecutionRetried
    | CallSettled
    | TaskReviewed
    | ExecutionArchived
    | ExecutionErased
)
