"""Every check of a workflow document against itself and the catalogue; finds all faults, not the first.

Called by the command path before anything is stored. Its one rule: a fault names the field by JSON pointer
(RFC 6901) and says what was expected there.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from domain import graph
from domain.catalog import Catalog
from domain.crew_checks import guardrail_faults, process_faults, unknown_model
from domain.definition import PLACEHOLDER, Definition, Task
from domain.errors import Fault
from domain.flow_checks import ITEM_INPUTS, flow_faults, gives_output, pointer, unknown


def definition_faults(definition: Definition, catalog: Catalog) -> tuple[Fault, ...]:
    """All faults of a document whose shape is already right; () when it can be stored."""
    return (
        *agent_faults(definition, catalog),
        *task_faults(definition, catalog),
        *flow_faults(definition, catalog),
        *crew_faults(definition),
        *(fault for name in definition.graph for fault in process_faults(definition, name, catalog)),
        *placeholder_faults(definition),
    )


def agent_faults(definition: Definition, catalog: Catalog) -> Iterator[Fault]:
    if not definition.steps and not definition.tasks:
        yield Fault("/tasks", "is missing; expected tasks, or steps that need none")
    if definition.tasks and not definition.agents:
        yield Fault("/agents", "is missing; expected an agent who works on the tasks")
    for name, agent in definition.agents.items():
        if agent.model and not catalog.has_model(agent.model):
            yield unknown_model(agent.model, catalog, pointer("agents", name, "model"))
        yield from tool_faults(agent.tools, catalog, ("agents", name, "tools"))
    if any(agent.model is None for agent in definition.agents.values()) and catalog.default_model is None:
        yield Fault("/agents", "an agent names no model and the catalogue has no default; expected a model")


def tool_faults(tools: Iterable[str], catalog: Catalog, at: tuple[str, ...]) -> Iterator[Fault]:
    for index, tool in enumerate(tools):
        if tool not in catalog.tools:
            known = ", ".join(sorted(catalog.tools)) or "none is there yet"
            yield Fault(pointer(*at, index), f"unknown tool {tool!r}; expected one of: {known}")


def task_faults(definition: Definition, catalog: Catalog) -> Iterator[Fault]:
    for name, task in definition.tasks.items():
        if task.agent is not None and task.agent not in definition.agents:
            yield unknown("agent", task.agent, definition.agents, pointer("tasks", name, "agent"))
        for index, other in enumerate(task.context or ()):
            if other not in (there := (*definition.tasks, *step_outputs(definition))):
                yield unknown("task", other, there, pointer("tasks", name, "context", index))
        if task.output_schema and task.output_schema not in (
            known := {**catalog.schemas, **definition.schemas}
        ):
            yield unknown("schema", task.output_schema, known, pointer("tasks", name, "output_schema"))
        yield from tool_faults(task.tools or (), catalog, ("tasks", name, "tools"))
        if task.guardrail:
            yield from guardrail_faults(task.guardrail, {**catalog.schemas, **definition.schemas}, name)
    if tangled := graph.cycle({name: task.context or () for name, task in definition.tasks.items()}):
        yield Fault("/tasks", f"the contexts of {', '.join(tangled)} form a cycle; expected none")


def crew_faults(definition: Definition) -> Iterator[Fault]:
    """What CrewAI itself demands of one crew, and which outputs a task can see from its place in the
    graph."""
    links, outputs = definition.links, step_outputs(definition)
    step_of = {**definition.step_of_task, **{name: name for name in outputs}}
    for name in definition.graph:
        order = [task for task in definition.tasks_of(name) if task in definition.tasks]
        before = graph.ancestors(links, name)
        for index, task in enumerate(order):
            for place, other in enumerate(definition.tasks[task].context or ()):
                earlier = (
                    other in order[:index] if step_of.get(other) == name else step_of.get(other) in before
                )
                if is_elsewhere_mapped(definition, other, name):
                    at = pointer("tasks", task, "context", place)
                    yield Fault(at, f"{other!r} is worked on for each item; expected {step_of[other]!r}")
                elif other in step_of and not earlier:
                    at = pointer("tasks", task, "context", place)
                    yield Fault(at, f"task {other!r} does not come before {task!r}; expected an earlier task")
        yield from async_faults([(task, definition.tasks[task]) for task in order])


def is_elsewhere_mapped(definition: Definition, task: str, step: str) -> bool:
    """Whether another step works the task for each item of a list."""
    mapping = [
        name for name, node in definition.steps.items() if node.map and node.work and task in node.work.tasks
    ]
    return mapping not in ([], [step])


def step_outputs(definition: Definition) -> tuple[str, ...]:
    """Steps without tasks whose output can be a task's context, under the step's name."""
    return tuple(name for name, step in definition.steps.items() if step.crew is None and gives_output(step))


def async_faults(order: list[tuple[str, Task]]) -> Iterator[Fault]:
    """CrewAI's two rules: a crew ends with at most one async task, and an async task can not wait for the
    async
    tasks right before it."""
    tail: list[str] = []
    for name, task in order:
        if not task.async_execution:
            tail = []
            continue
        for index, other in enumerate(task.context or ()):
            if other in tail:
                at = pointer("tasks", name, "context", index)
                yield Fault(at, f"{other!r} runs beside {name!r}; expected a task that has ended by then")
        tail.append(name)
    if len(tail) > 1:
        at = pointer("tasks", tail[-1], "async_execution")
        yield Fault(at, "more than one async task ends the crew; expected a task that waits for them")


def placeholder_faults(definition: Definition) -> Iterator[Fault]:
    mapped = [
        task for step in definition.steps.values() if step.map and step.work for task in step.work.tasks
    ]
    of_items = {
        pointer("tasks", task, field) for task in mapped for field in ("description", "expected_output")
    }
    for at, text in prompts(definition):
        for name in dict.fromkeys(PLACEHOLDER.findall(text)):
            if name not in (inputs := (*definition.inputs, *(ITEM_INPUTS if at in of_items else ()))):
                known = ", ".join(sorted(inputs)) or "no input is declared"
                yield Fault(at, f"placeholder {{{name}}} has no input; expected one of: {known}")


def prompts(definition: Definition) -> Iterator[tuple[str, str]]:
    """Every text in which a placeholder is replaced, with its pointer."""
    for name, agent in definition.agents.items():
        for field in ("role", "goal", "backstory"):
            yield pointer("agents", name, field), getattr(agent, field)
    for name, task in definition.tasks.items():
        for field in ("description", "expected_output"):
            yield pointer("tasks", name, field), getattr(task, field)
    if definition.concurrency and definition.concurrency.key:
        yield pointer("concurrency", "key"), definition.concurrency.key


__all__ = ["definition_faults", "pointer", "unknown"]
