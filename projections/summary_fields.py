"""The fields that a list and a page of one execution both have.

Filled in by `execution_summary.py`, from the events.
"""

from __future__ import annotations

from typing import Any

import msgspec

from domain.execution import ExecutionRequested, Status
from projections.projection import Fact


class Lineage(msgspec.Struct, frozen=True):
    """Whose past a fork has: that of an execution, up to the version `at`. is_what_if: of its tools only."""

    execution_id: str
    at: int
    is_what_if: bool = False


class ParentRow(msgspec.Struct, frozen=True):
    """Whose child an execution is, and of which step."""

    execution_id: str
    step: str


class OpenWait(msgspec.Struct, kw_only=True, gc=False):
    """Why a step does not go on; kind and id say which command ends it.

    kind  unknown_outcome, budget, human_input, approval, signal, timer or child
    id    of a child: that of its execution
    """

    step: str
    kind: str
    id: str
    message: str
    since: str


class ExecutionSummary(msgspec.Struct, kw_only=True, gc=False):
    """version, position  of the execution's last event
    started_at         when its first step was
    duration_ms        from its first step to its end
    model_calls        begun; tokens and cost are of those that were answered
    reused_calls       of a fork: model and tool calls that were not made, but taken from its past; what they
                       cost then is saved_usd, and their tokens are saved_tokens
    error              why it failed or timed out
    active_steps       that are with a runner, or on the way to one
    waits              what its other unfinished steps wait for
    erased_at          when its contents were erased; then texts are empty, and names say "(sealed)"
    children_*         what its child executions have spent, as far as they have ended; not in its own figures
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
    children_model_calls: int = 0
    children_tool_calls: int = 0
    children_tokens: int = 0
    children_usd: float = 0.0
    forked_from: Lineage | None = None
    parent: ParentRow | None = None
    queue: str = "default"
    priority: int = 5
    waiting_for: str | None = None
    error: str | None = None
    active_steps: list[str] = []
    waits: list[OpenWait] = []
    erased_at: str | None = None
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
        "parent": ParentRow(event.parent.execution_id, event.parent.step) if event.parent else None,
        "queue": event.queue,
        "priority": event.priority,
        "version": fact.version,
        "position": fact.position,
    }


def lineage(event: ExecutionRequested) -> Lineage | None:
    fork = event.forked_from
    return Lineage(fork.execution_id, fork.at, fork.is_what_if) if fork else None
