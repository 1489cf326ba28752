"""What can have happened to an execution. Tags are stored and never renamed."""

from __future__ import annotations

from typing import TypeAlias

import msgspec

from domain.catalog import Model
from domain.definition import Definition, Json
from domain.execution.forks import ForkedFrom, Origin
from domain.message import Event


class Content(msgspec.Struct, frozen=True, omit_defaults=True):
    """A text that a call sent or received.

    digest        SHA-256 (hex) of the whole text, UTF-8
    size_bytes    of the whole text
    text          the text, or its beginning
    is_truncated  `text` is only the beginning
    is_stored     the whole text is in the content store, under its digest
    """

    digest: str
    size_bytes: int
    text: str
    is_truncated: bool = False
    is_stored: bool = False


class Failure(msgspec.Struct, frozen=True, omit_defaults=True):
    """Why something failed. code: stable, snake_case, for programs; message: for people."""

    code: str
    message: str
    task: str | None = None


class TaskOutput(msgspec.Struct, frozen=True, omit_defaults=True):
    """What a task produced: its text and, where a schema was asked for, the instance of it.

    digest, size_bytes  of the whole text, where `text` is only its beginning; it is in the content store
    """

    text: str
    structured: Json = None
    digest: str = ""
    size_bytes: int = 0


class ExecutionRequested(Event, frozen=True, tag="execution.requested"):
    """Everything the run needs is pinned here; later changes of workflow or catalogue do not reach it.

    workflow_id, workflow_version  None for an inline definition
    models                         the catalogue's entries for the models that the agents use
    default_model                  for agents that name none
    forked_from                    None for an execution with no other's past
    """

    name: str
    definition: Definition
    inputs: dict[str, Json]
    models: dict[str, Model]
    default_model: str | None = None
    workflow_id: str | None = None
    workflow_version: int | None = None
    forked_from: ForkedFrom | None = None


class StepScheduled(Event, frozen=True, tag="execution.step_scheduled"):
    """The step may run now.

    turn     1 the first time; more when it was scheduled again. reason: why again
    without  tasks of its context that had no output the first time, because their step was skipped or still
             ran; the step never sees them, so that it runs the same whenever it runs again
    """

    step: str
    turn: int
    reason: str | None = None
    without: tuple[str, ...] = ()


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


class StepEvent(Event, frozen=True):
    """What a runner reports from within a step; `attempt` says on whose authority."""

    step: str
    attempt: int


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


class ModelCallStarted(StepEvent, frozen=True, tag="execution.model_call_started"):
    """Intent: the request is about to be sent. call: its id within the execution; request: messages as
    JSON."""

    call: str
    model: str
    request: Content
    task: str | None = None
    agent: str | None = None


class ModelCallCompleted(StepEvent, frozen=True, tag="execution.model_call_completed"):
    """model: the one that answered. Tokens as the provider counted them.

    response  text; where `asks_for_tools`, the tool calls as JSON (OpenAI's dicts)
    """

    call: str
    model: str
    response: Content
    prompt_tokens: int
    completion_tokens: int
    cost_usd: float
    duration_ms: int
    task: str | None = None
    asks_for_tools: bool = False


class ModelCallFailed(StepEvent, frozen=True, tag="execution.model_call_failed"):
    call: str
    failure: Failure
    duration_ms: int
    task: str | None = None


class ToolCallStarted(StepEvent, frozen=True, tag="execution.tool_call_started"):
    """Intent: the tool is about to run. arguments: as JSON."""

    call: str
    tool: str
    arguments: Content
    task: str | None = None
    agent: str | None = None


class ToolCallCompleted(StepEvent, frozen=True, tag="execution.tool_call_completed"):
    call: str
    tool: str
    result: Content
    duration_ms: int
    task: str | None = None


class ToolCallFailed(StepEvent, frozen=True, tag="execution.tool_call_failed"):
    """The tool raised; the agent sees the message and goes on."""

    call: str
    tool: str
    failure: Failure
    duration_ms: int
    task: str | None = None


class CallReused(StepEvent, frozen=True, tag="execution.call_reused"):
    """A call of a fork that was not made: another execution's outcome was taken, and cost nothing.

    attempt    0 for a call of a task that was taken over as done
    call       its id within this execution
    origin     where the outcome stands, with all that was asked and answered
    is_edited  the result is the one that whoever forked has given
    model      that answered then; tokens and cost as they were then
    tool       that ran then
    """

    call: str
    origin: Origin
    task: str | None = None
    agent: str | None = None
    model: str | None = None
    tool: str | None = None
    is_edited: bool = False
    prompt_tokens: int = 0
    completion_tokens: int = 0
    cost_usd: float = 0.0


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
    failure: Failure


class ExecutionCompleted(Event, frozen=True, tag="execution.completed"):
    """output: of the last step that no other comes after."""

    output: TaskOutput


class ExecutionFailed(Event, frozen=True, tag="execution.failed"):
    failure: Failure
    step: str | None = None


class ExecutionCancelled(Event, frozen=True, tag="execution.cancelled"):
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
)
"""What a runner may report."""

Journaled: TypeAlias = ModelCallCompleted | ToolCallCompleted | ToolCallFailed
"""A call whose outcome is known: when the crew runs again the journal answers it, and it is never sent."""

TakenOver: TypeAlias = CallReused | TaskReused | StepReused
"""What a fork has of the past it began with."""

ExecutionEvents: TypeAlias = (
    ExecutionRequested
    | TaskReused
    | StepReused
    | StepScheduled
    | StepSkipped
    | RouteChosen
    | StepStarted
    | Progress
    | ExecutionCompleted
    | ExecutionFailed
    | ExecutionCancelled
)
