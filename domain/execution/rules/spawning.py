"""A `workflow` step that begins: it wants a child, or has the one go on that had failed.

Used by `order`. What ends it stands in `joining`. Its one rule: what a child may spend is reserved before it
is wanted, so that parent and children together stay within the parent's budget.
"""

from __future__ import annotations

from typing import cast

import msgspec

from domain.amounts import NOTHING, excess, least, remaining
from domain.conditions import evaluate, parse
from domain.errors import ConditionError
from domain.execution.children import ChildRequested, ChildState, ChildTold, wait_id_of
from domain.execution.events import ExecutionEvents, ExecutionFailed, StepSuspended
from domain.execution.flowing import newest_child
from domain.execution.results import names_of
from domain.execution.rules.routing import failed
from domain.execution.state import Execution
from domain.execution.values import Failure, Wait
from domain.limits import Budget
from domain.steps import ChildWorkflow
from domain.terms import Json

MAX_INPUTS_BYTES = 64 * 1024


def spawn(state: Execution, step: str, node: ChildWorkflow) -> tuple[ExecutionEvents, ...]:
    """After its execution was retried, the child that had failed goes on; else a new one is wanted."""
    last = newest_child(state, step)
    if last is not None and can_go_on(state.children[last]):
        return gone_on(state, step, node, last)
    number = 1 + sum(child.step == step for child in state.children.values())
    inputs = inputs_for(state, step, node)
    if isinstance(inputs, ExecutionFailed):
        return (inputs,)
    pinned = state.request.children[state.definition.base_of(step)] if state.request else None
    assert pinned is not None  # noqa: S101 - `requesting` refuses a request without it
    granted = remaining(state.budget, state.account.committed)
    if not isinstance(granted, Budget):
        return without_budget(state, step, f"{step}:{number}", f"the child is not begun: {granted}")
    requested = ChildRequested(
        step=step,
        child=f"{number}-{step}",
        workflow_id=node.workflow_id,
        workflow_version=pinned.version,
        inputs=inputs,
        budget=least(least(node.budget or Budget(), pinned.budget), granted),
    )
    return (requested, waiting(step, requested.child, node))


def can_go_on(child: ChildState) -> bool:
    """One that had failed, or that somebody has retried since, and which the step has not gone on without."""
    return not child.is_taken and not child.is_open and child.status in ("completed", "failed", "timed_out")


def gone_on(state: Execution, step: str, node: ChildWorkflow, name: str) -> tuple[ExecutionEvents, ...]:
    child = state.children[name]
    run = child.ended if child.status == "completed" else child.ended + 1
    if why := excess(state.budget, state.account.committed.plus(child.left), "the child"):
        return without_budget(state, step, f"{step}:{name}.{run}", f"the child does not go on: {why}")
    return (
        ChildTold(step=step, child=name, order="retry", run=run),
        waiting(step, name, node, run),
    )


def without_budget(state: Execution, step: str, wait_id: str, why: str) -> tuple[ExecutionEvents, ...]:
    if count := sum(grant != NOTHING for grant in state.account.granted.values()):
        why += f" ({count} {'child' if count == 1 else 'children'} under way may give some back)"
    if state.definition.limits.on_exceeded == "fail":
        return (ExecutionFailed(failure=Failure("budget_exceeded", why), step=step),)
    return (StepSuspended(step=step, attempt=0, wait=Wait("budget", wait_id, why)),)


def waiting(step: str, child: str, node: ChildWorkflow, run: int = 0) -> StepSuspended:
    message = f"waits for a child of workflow {node.workflow_id!r}"
    wait = Wait("child", wait_id_of(child, run), message, for_s=node.timeout_s or 0)
    return StepSuspended(step=step, attempt=0, wait=wait)


def is_awaited(state: Execution, name: str) -> bool:
    """Whether a step waits for this child, and for the run that it is in."""
    child = state.children[name]
    step = state.steps.get(child.step)
    return step is not None and step.wait is not None and step.wait.id == wait_id_of(name, child.run)


def inputs_for(state: Execution, step: str, node: ChildWorkflow) -> dict[str, Json] | ExecutionFailed:
    names, seen = {**names_of(state), **item_of(state, step)}, dict[str, Json]()
    found: dict[str, Json] = {}
    for name, given in node.inputs.items():
        try:
            found[name] = evaluate(parse(given), names, seen).value if isinstance(given, str) else given
        except ConditionError as error:
            return failed(step, "condition_failed", f"{given!r} can not be worked out: {error}", seen)
    if (cut := cut_output(state, seen)) is not None:
        return failed(step, "input_cut", f"the output of {cut!r} is too long to be an input", {})
    if (size := len(msgspec.json.encode(found))) > MAX_INPUTS_BYTES:
        most = f"expected at most {MAX_INPUTS_BYTES}"
        return failed(step, "inputs_too_large", f"the inputs of {step!r} have {size} bytes; {most}", {})
    return found


def item_of(state: Execution, step: str) -> dict[str, Json]:
    """Of an item of a map: what its inputs may speak of besides."""
    number = state.definition.item_of(step)
    if number is None:
        return {}
    return {"item": state.maps[state.definition.base_of(step)].items[number], "item_index": number}


def cut_output(state: Execution, seen: dict[str, Json]) -> str | None:
    """The first step of which a text was looked at that the events have only the beginning of."""
    for path in seen:
        name, _, rest = path.removeprefix("steps.").partition(".")
        output = state.outputs.get(output_name(state, name))
        if output is not None and output.digest and output.structured is None and rest in ("", "text"):
            return name
    return None


def output_name(state: Execution, step: str) -> str:
    node = state.definition.graph.get(step)
    return node.crew.tasks[-1] if node is not None and node.crew is not None else step


def spawned_again(state: Execution, step: str) -> tuple[ExecutionEvents, ...]:
    """A step that waits for budget to have its child: there is enough now, or it waits on."""
    events = spawn(state, step, cast("ChildWorkflow", state.definition.child_of(step)))
    is_waiting_on = isinstance(last := events[-1], StepSuspended) and last.wait.kind == "budget"
    return () if is_waiting_on else events
