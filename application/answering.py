"""What people and systems answer a waiting execution with, prepared: edits and payloads held against schemas.

Called by the API. Each function returns a `Preparation` for `CommandHandler.handle`.
"""

from __future__ import annotations

from typing import Literal

import msgspec

from application.documents import check, value_faults
from application.states import Preparation, Reads
from domain.checks import pointer
from domain.definition import Definition, Json
from domain.errors import Fault
from domain.execution import EXECUTION, DecideApproval, Execution, SendSignal, TaskOutput

MAX_ANSWER_BYTES = 64 * 1024
"""Of all edits of a decision, or of a payload, as JSON: it travels in events (256 KiB)."""


def decide_approval(
    execution_id: str,
    approval_id: str,
    decision: Literal["approve", "reject", "retry"],
    *,
    digest: str,
    approver: str,
    comment: str = "",
    edits: dict[str, Json] | None = None,
) -> Preparation:
    """edits: by task, a text or an instance of the task's schema. Raises `Invalid`; what decide raises."""

    async def prepare(reads: Reads) -> DecideApproval:
        state = await reads.of(EXECUTION, execution_id)
        return DecideApproval(
            execution_id=execution_id,
            approval_id=approval_id,
            decision=decision,
            digest=digest,
            approver=approver,
            comment=comment,
            edits=edited(state, decision, edits or {}),
        )

    return prepare


def edited(state: Execution, decision: str, edits: dict[str, Json]) -> dict[str, TaskOutput]:
    """Edits as outputs. Raises `Invalid` with every fault."""
    faults: list[Fault] = []
    if edits and decision != "approve":
        faults.append(Fault("/edits", f"expected none beside {decision}: edits go on with an approval"))
    if state.request is None or faults:
        check(faults)
        return {}
    faults.extend(size_faults(edits, "/edits"))
    for task, value in edits.items():
        faults.extend(edit_faults(state, task, value))
    check(faults)
    return {task: output_of(value) for task, value in edits.items()}


def edit_faults(state: Execution, task: str, value: Json) -> tuple[Fault, ...]:
    if task not in state.outputs:
        known = ", ".join(state.outputs) or "there is none yet"
        return (Fault(pointer("edits", task), f"unknown output {task!r}; expected one of: {known}"),)
    if (name := schema_of(state.definition, task)) is not None:
        return value_faults(state.definition.schemas[name], value, "edits", task)
    if task in state.definition.tasks and not isinstance(value, str):
        return (Fault(pointer("edits", task), "expected a text: the task has no output_schema"),)
    return ()


def schema_of(definition: Definition, task: str) -> str | None:
    """The schema of a task's output, or of a signal's payload."""
    if task in definition.tasks:
        return definition.tasks[task].output_schema
    signal = definition.graph[task].signal
    return signal.payload_schema if signal else None


def output_of(value: Json) -> TaskOutput:
    if isinstance(value, str):
        return TaskOutput(value)
    return TaskOutput(msgspec.json.encode(value).decode(), value)


def size_faults(value: Json, at: str) -> tuple[Fault, ...]:
    if (size := len(msgspec.json.encode(value))) > MAX_ANSWER_BYTES:
        return (Fault(at, f"has {size} bytes as JSON; expected at most {MAX_ANSWER_BYTES}"),)
    return ()


def send_signal(execution_id: str, name: str, payload: Json, *, by: str) -> Preparation:
    """Raises `Invalid` for a payload that is no instance of the step's schema, and what decide raises."""

    async def prepare(reads: Reads) -> SendSignal:
        state = await reads.of(EXECUTION, execution_id)
        if state.request is not None:
            check([*size_faults(payload, "/payload"), *payload_faults(state.definition, name, payload)])
        return SendSignal(execution_id=execution_id, name=name, payload=payload, by=by)

    return prepare


def payload_faults(definition: Definition, name: str, payload: Json) -> tuple[Fault, ...]:
    """Of every step that waits for the name."""
    schemas = {
        step.signal.payload_schema
        for key, step in definition.graph.items()
        if step.signal and (step.signal.name or key) == name and step.signal.payload_schema
    }
    return tuple(
        fault
        for schema in sorted(schemas)
        for fault in value_faults(definition.schemas[schema], payload, "payload")
    )
