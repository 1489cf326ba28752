"""What a list and a page of one execution both say of it.

Used by `execution_list.py` and `execution_detail.py`, which add their own.
"""

from __future__ import annotations

from typing import Any

import msgspec

from domain.execution import (
    ExecutionCancelled,
    ExecutionCompleted,
    ExecutionFailed,
    ExecutionRequested,
    ModelCallCompleted,
    ModelCallStarted,
    Status,
    StepStarted,
    ToolCallStarted,
)
from projections.projection import Fact, milliseconds_between, tags


class ExecutionSummary(msgspec.Struct, kw_only=True):
    """version, position  of the execution's last event
    started_at         when its first step was
    duration_ms        from its first step to its end
    model_calls        begun; tokens and cost are of those that were answered
    error              why it failed
    """

    id: str
    tenant: str
    name: str
    status: Status
    workflow_id: str | None
    workflow_name: str
    workflow_version: int | None
    created_at: str
    started_at: str | None = None
    ended_at: str | None = None
    duration_ms: int | None = None
    model_calls: int = 0
    tool_calls: int = 0
    prompt_tokens: int = 0
    completion_tokens: int = 0
    cost_usd: float = 0.0
    error: str | None = None
    version: int
    position: int

    @property
    def execution_id(self) -> str:
        return self.id


READ = tags(
    ExecutionRequested,
    StepStarted,
    ModelCallStarted,
    ModelCallCompleted,
    ToolCallStarted,
    ExecutionCompleted,
    ExecutionFailed,
    ExecutionCancelled,
)
"""Events that change more of a summary than its version; the others need not even be decoded."""


def requested(event: ExecutionRequested, fact: Fact) -> dict[str, Any]:
    """The fields of a new summary."""
    return {
        "id": fact.entity_id,
        "tenant": fact.tenant,
        "name": event.name,
        "status": Status.PENDING,
        "workflow_id": event.workflow_id,
        "workflow_name": event.definition.name,
        "workflow_version": event.workflow_version,
        "created_at": fact.at,
        "version": fact.version,
        "position": fact.position,
    }


def change(row: ExecutionSummary, fact: Fact) -> None:
    row.version, row.position = fact.version, fact.position
    if fact.tag not in READ:
        return
    match fact.event:
        case ModelCallStarted():
            row.model_calls += 1
        case ModelCallCompleted() as call:
            row.prompt_tokens += call.prompt_tokens
            row.completion_tokens += call.completion_tokens
            row.cost_usd += call.cost_usd
        case ToolCallStarted():
            row.tool_calls += 1
        case StepStarted():
            row.status, row.started_at = Status.RUNNING, row.started_at or fact.at
        case ExecutionCompleted():
            end(row, Status.COMPLETED, fact)
        case ExecutionFailed(failure=failure):
            end(row, Status.FAILED, fact)
            row.error = failure.message
        case ExecutionCancelled():
            end(row, Status.CANCELLED, fact)


def end(row: ExecutionSummary, status: Status, fact: Fact) -> None:
    row.status, row.ended_at = status, fact.at
    if row.started_at is not None:
        row.duration_ms = milliseconds_between(row.started_at, row.ended_at)
