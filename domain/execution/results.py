"""What steps have given: as the output of the whole, and as a value that conditions speak of.

Used by the rules and by the command channel. Its one rule: a step that was skipped gives an object without
fields.
"""

from __future__ import annotations

import msgspec

from domain import graph
from domain.definition import Definition
from domain.execution.flowing import newest_child
from domain.execution.state import Execution, StepStatus
from domain.execution.values import TaskOutput
from domain.terms import Json

MAX_WHOLE_BYTES = 248 * 1024
"""As much as a task's own output may have: it is whole in the output of its execution, too."""


def output_of(state: Execution, step: str) -> TaskOutput | None:
    """What a step gave: of a crew the output of its last task; None of a step that has none, or none yet."""
    name = output_task(state, step)
    return state.outputs[name] if name else None


def output_task(state: Execution, step: str) -> str | None:
    """The name in `outputs` of what a step gave: its last task, or the step itself; None as above."""
    if (known := state.steps.get(step)) is None or known.status is not StepStatus.COMPLETED:
        return None
    crew = state.definition.graph[step].crew
    name = crew.tasks[-1] if crew else step
    return name if name in state.outputs else None


def whole_output(state: Execution) -> TaskOutput:
    """Of the last step, in the document's order, that gave one and that no other such step comes after."""
    outputs = {step: output for step in state.definition.graph if (output := output_of(state, step))}
    last = graph.last_of(state.definition.links, outputs)
    return bounded(outputs[last]) if last is not None else TaskOutput("")


def bounded(output: TaskOutput) -> TaskOutput:
    """As an event has room for it; a map's list may not have it, and stands in the events of its items."""
    if len(msgspec.json.encode(output)) <= MAX_WHOLE_BYTES:
        return output
    text = output.text.encode()[: MAX_WHOLE_BYTES // 4].decode(errors="ignore")
    return msgspec.structs.replace(output, text=text, structured=None)


def value_of(state: Execution, step: str) -> Json:
    """A step as conditions see it; `{}` when it was skipped.

    A crew or a child: the instance of its schema, else `{text}`; a child that did not complete: `{failed,
    message}`. A map: the list of these, texts as they are. A signal: its payload. An approval:
    `{decision, ...}`.
    """
    node = state.definition.graph[step]
    if node.approval is not None:
        return answer_of(state, step)
    output = output_of(state, step)
    if output is None:
        return failure_of(state, step)
    if node.crew is None and node.workflow is None:
        return output.structured
    return {"text": output.text} if output.structured is None else output.structured


def failure_of(state: Execution, step: str) -> Json:
    """Of the child that the step went on without; `{}` of another step."""
    name = newest_child(state, step)
    failure = state.children[name].failure if name is not None else None
    return {} if failure is None else {"failed": failure.code, "message": failure.message}


def answer_of(state: Execution, step: str) -> Json:
    """What was decided last; `{}` while nothing is, and when the step was skipped."""
    answers = [known.answer for known in state.approvals.values() if known.step == step]
    return answers[-1] if answers and state.steps[step].status.is_settled else {}


def names_of(state: Execution) -> dict[str, Json]:
    """What conditions can speak of: the inputs, and every settled step."""
    inputs = state.request.inputs if state.request else {}
    steps = {step: value_of(state, step) for step in state.definition.graph if step in state.steps}
    return {**steps, "inputs": inputs, "steps": steps}


def earlier_context(definition: Definition, step: str) -> set[str]:
    """The tasks of earlier steps whose outputs the step's tasks are to see."""
    own = definition.tasks_of(definition.base_of(step))
    return {name for task in own for name in definition.tasks[task].context or ()} - set(own)


def missing_context(state: Execution, step: str) -> tuple[str, ...]:
    return tuple(sorted(earlier_context(state.definition, step) - state.outputs.keys()))
