"""What a list and a page of one execution both say of it.

Used by `execution_list.py` and `execution_detail.py`, which add their own.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec

from domain.execution import (
    CallReused,
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
from domain.message import tag_of
from projections.projection import Fact, milliseconds_between


class Lineage(msgspec.Struct, frozen=True):
    """Whose past a fork has: that of an execution, up to the version `at`."""

    execution_id: str
    at: int


class ExecutionSummary(msgspec.Struct, kw_only=True, gc=False):
    """version, position  of the execution's last event
    started_at         when its first step was
    duration_ms        from its first step to its end
    model_calls        begun; tokens and cost are of those that were answered
    reused_calls       of a fork: model and tool calls that were not made, but taken from its past; what they
                       cost then is saved_usd, and their tokens are saved_tokens
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
    reused_calls: int = 0
    saved_tokens: int = 0
    saved_usd: float = 0.0
    forked_from: Lineage | None = None
    error: str | None = None
    version: int
    position: int

    @property
    def execution_id(self) -> str:
        return self.id


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
        "forked_from": lineage(event),
        "version": fact.version,
        "position": fact.position,
    }


def lineage(event: ExecutionRequested) -> Lineage | None:
    fork = event.forked_from
    return Lineage(fork.execution_id, fork.at) if fork else None


def change(row: ExecutionSummary, fact: Fact) -> None:
    """One more event. Most are only counted, and not even decoded."""
    row.version, row.position = fact.version, fact.position
    if (changed := CHANGES.get(fact.tag)) is not None:
        changed(row, fact)


def started(row: ExecutionSummary, fact: Fact) -> None:
    row.status, row.started_at = Status.RUNNING, row.started_at or fact.at


def model_called(row: ExecutionSummary, fact: Fact) -> None:
    row.model_calls += 1


def tool_called(row: ExecutionSummary, fact: Fact) -> None:
    row.tool_calls += 1


def model_answered(row: ExecutionSummary, fact: Fact) -> None:
    answer = fact.of(ModelCallCompleted)
    row.prompt_tokens += answer.prompt_tokens
    row.completion_tokens += answer.completion_tokens
    row.cost_usd += answer.cost_usd


def reused(row: ExecutionSummary, fact: Fact) -> None:
    call = fact.of(CallReused)
    row.reused_calls += 1
    row.saved_tokens += call.prompt_tokens + call.completion_tokens
    row.saved_usd += call.cost_usd


def completed(row: ExecutionSummary, fact: Fact) -> None:
    end(row, Status.COMPLETED, fact)


def failed(row: ExecutionSummary, fact: Fact) -> None:
    end(row, Status.FAILED, fact)
    row.error = fact.of(ExecutionFailed).failure.message


def cancelled(row: ExecutionSummary, fact: Fact) -> None:
    end(row, Status.CANCELLED, fact)


def end(row: ExecutionSummary, status: Status, fact: Fact) -> None:
    row.status, row.ended_at = status, fact.at
    if row.started_at is not None:
        row.duration_ms = milliseconds_between(row.started_at, row.ended_at)


CHANGES: dict[str, Callable[[ExecutionSummary, Fact], None]] = {
    tag_of(StepStarted): started,
    tag_of(ModelCallStarted): model_called,
    tag_of(ModelCallCompleted): model_answered,
    tag_of(ToolCallStarted): tool_called,
    tag_of(CallReused): reused,
    tag_of(ExecutionCompleted): completed,
    tag_of(ExecutionFailed): failed,
    tag_of(ExecutionCancelled): cancelled,
}
"""What an event changes besides the version."""
