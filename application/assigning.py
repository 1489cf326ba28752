"""What a runner is given of an execution, to run one of its steps.

Called by the command channel when a claim is granted. Its one rule: a step sees the outputs that its tasks
have as context, and no others.
"""

from __future__ import annotations

from typing import Any

from msgspec.structs import replace

from application.ports import Assignment
from domain.checks import prompts
from domain.definition import PLACEHOLDER, Definition, Json
from domain.execution import Execution, TaskOutput
from domain.execution.results import earlier_context


def assignment_of(execution_id: str, step: str, execution: Execution) -> Assignment:
    """For the step's newest attempt; the execution has been requested."""
    request = execution.request
    assert request is not None  # noqa: S101 - for the type checker; the claim was granted
    return Assignment(
        execution_id=execution_id,
        step=step,
        attempt=execution.steps[step].attempt,
        definition=bounded(execution, execution.definition.as_assigned(step)),
        inputs=inputs_of(execution, step),
        models=request.models,
        default_model=request.default_model,
        outputs=context_outputs(execution, step),
        remarks=execution.remarks.get(execution.definition.base_of(step), ()),
        **of_fork(execution, step),
    )


def bounded(execution: Execution, definition: Definition) -> Definition:
    """With what the days of the workflows above it bound: answers are asked for by these limits, too."""
    if execution.day_bounds == definition.limits.per_day:
        return definition
    return replace(definition, limits=replace(definition.limits, per_day=execution.day_bounds))


def inputs_of(execution: Execution, step: str) -> dict[str, Json]:
    """The execution's; for an item of a map those that its texts name, the item and its place.

    Not the others: the list itself is one of them, and would go with each of its items.
    """
    inputs = execution.request.inputs if execution.request else {}
    definition, number = execution.definition, execution.definition.item_of(step)
    if number is None:
        return inputs
    item = execution.maps[definition.base_of(step)].items[number]
    named = {name for _, text in prompts(definition.as_assigned(step)) for name in PLACEHOLDER.findall(text)}
    needed = {name: value for name, value in inputs.items() if name in named}
    return {**needed, "item": item, "item_index": number}


def of_fork(execution: Execution, step: str) -> dict[str, Any]:
    """What an assignment says of a fork's past."""
    fork = execution.request.forked_from if execution.request else None
    if fork is None:
        return {}
    return {
        "is_fork": True,
        "done": tuple(done_tasks(execution, step)),
        "former_models": fork.former_models,
        "is_what_if": fork.is_what_if,
    }


def done_tasks(execution: Execution, step: str) -> list[str]:
    """The step's tasks that a fork has taken over, unless they were sent back since."""
    fork = execution.request.forked_from if execution.request else None
    taken = fork.tasks if fork else ()
    return [
        task for task in execution.definition.tasks_of(step) if task in taken and task in execution.outputs
    ]


def context_outputs(execution: Execution, step: str) -> dict[str, TaskOutput]:
    """Outputs of earlier steps that the step's tasks have as context, and of its own that are done."""
    wanted = earlier_context(execution.definition, step) - set(execution.steps[step].without)
    wanted.update(done_tasks(execution, step))
    return {name: output for name, output in execution.outputs.items() if name in wanted}
