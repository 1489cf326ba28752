"""What a step asks of people: the beginning of an approval.

Used by `order`. What ends it stands in `approving`.
"""

from __future__ import annotations

import msgspec

from domain import graph
from domain.execution.approvals import ApprovalRequested, Shown, digest_of
from domain.execution.events import ExecutionEvents, StepSuspended
from domain.execution.results import output_task
from domain.execution.state import Execution
from domain.execution.values import TaskOutput, Wait
from domain.steps import Approval

MAX_SHOWN_BYTES = 96 * 1024
"""Of all outputs in the event that asks; they share it evenly."""


def ask(state: Execution, step: str, approval: Approval) -> tuple[ExecutionEvents, ...]:
    """An approval that begins: what is shown, and that the step waits."""
    number = 1 + sum(known.step == step for known in state.approvals.values())
    approval_id = f"{number}-{step}"
    shown = shown_outputs(state, step)
    requested = ApprovalRequested(
        step=step,
        approval=approval_id,
        message=approval.message,
        digest=digest_of(approval.message, shown),
        shown=cut(state, shown),
        approvers=approval.approvers,
        approvals=approval.approvals,
        require_comment=approval.require_comment,
    )
    wait = Wait("approval", approval_id, approval.message, for_s=approval.timeout_s or 0)
    return (requested, StepSuspended(step=step, attempt=0, wait=wait))


def shown_steps(state: Execution, step: str) -> tuple[str, ...]:
    """The steps whose outputs an approval is about, those that have one, in the document's order."""
    node = state.definition.graph[step]
    links = state.definition.links
    if node.approval is not None and node.approval.show is not None:
        wanted = frozenset(node.approval.show)
    else:
        wanted = nearest(state, links, step)
    return tuple(name for name in state.definition.graph if name in wanted and output_task(state, name))


def nearest(state: Execution, links: graph.Graph, step: str) -> frozenset[str]:
    """Going back from a step on every way, the first steps that gave an output."""
    found: set[str] = set()
    waiting, seen = list(links[step]), set(links[step])
    while waiting:
        name = waiting.pop()
        if output_task(state, name):
            found.add(name)
            continue
        further = set(links[name]) - seen
        seen |= further
        waiting.extend(further)
    return frozenset(found)


def shown_outputs(state: Execution, step: str) -> dict[str, TaskOutput]:
    """By task (or by step, of one without tasks): the whole outputs that an approval is about."""
    names = [output_task(state, name) for name in shown_steps(state, step)]
    return {name: state.outputs[name] for name in names if name}


def cut(state: Execution, shown: dict[str, TaskOutput]) -> tuple[Shown, ...]:
    """As an event has room for it."""
    room = MAX_SHOWN_BYTES // max(len(shown), 1)
    step_of = {**state.definition.step_of_task, **{name: name for name in state.definition.graph}}
    return tuple(Shown(step_of[task], task, *cut_output(output, room)) for task, output in shown.items())


def cut_output(output: TaskOutput, room: int) -> tuple[TaskOutput, bool]:
    if len(msgspec.json.encode(output)) <= room:
        return output, False
    text = output.text.encode()[: room // 2].decode(errors="ignore")
    fits = len(msgspec.json.encode(output.structured)) <= room // 2
    structured = output.structured if fits else None
    return msgspec.structs.replace(output, text=text, structured=structured), True
