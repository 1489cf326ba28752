"""What happens within an attempt, and its calls: intent before, result after."""

from __future__ import annotations

from domain.execution.forks import Origin
from domain.execution.values import Content, Estimate, Failure
from domain.message import Event


class StepEvent(Event, frozen=True):
    """What a runner reports from within a step; `attempt` says on whose authority."""

    step: str
    attempt: int


class ModelCallStarted(StepEvent, frozen=True, tag="execution.model_call_started"):
    """Intent: the request is about to be sent. call: its id within the execution; request: messages as
    JSON; estimate: what the budget has to hold for it."""

    call: str
    model: str
    request: Content
    task: str | None = None
    agent: str | None = None
    estimate: Estimate | None = None


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
