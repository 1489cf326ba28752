"""Which step comes when: what is ready, and what follows when a step is through.

Used by the rules beside it.
"""

from __future__ import annotations

from domain import graph
from domain.execution.events import ExecutionCompleted, ExecutionEvents, StepScheduled
from domain.execution.state import Execution, StepStatus


def after_step(state: Execution) -> tuple[ExecutionEvents, ...]:
    """The steps that can run now; the execution's end when none is left."""
    if any(step not in done_steps(state) for step in state.definition.graph):
        return scheduled(state)
    last = graph.last_node(links(state))
    task = state.definition.graph[last].crew.tasks[-1]
    return (ExecutionCompleted(output=state.outputs[task]),)


def scheduled(state: Execution) -> tuple[StepScheduled, ...]:
    """A first turn for every step that has become ready."""
    ready = graph.ready_nodes(links(state), done_steps(state), frozenset(state.steps))
    return tuple(StepScheduled(step=step, turn=1) for step in ready)


def done_steps(state: Execution) -> frozenset[str]:
    return frozenset(name for name, step in state.steps.items() if step.status is StepStatus.COMPLETED)


def links(state: Execution) -> graph.Graph:
    return {name: step.predecessors for name, step in state.definition.graph.items()}
