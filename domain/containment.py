"""Checks of the workflows that a document contains by its `workflow` steps: that they are there, and end.

Called by `application.containment`, which gathers what is saved. Its one rule: no workflow contains itself,
by whatever way; so children end, and no two wait for slots of each other.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from domain.catalog import Catalog
from domain.conditions import type_of_schema
from domain.definition import Definition
from domain.errors import Fault
from domain.execution.children import MAX_DEPTH
from domain.flow_checks import child_place, condition_faults, names_within, pointer
from domain.steps import ChildWorkflow
from domain.workflow import Workflow

MAX_WORKFLOWS = 100
"""Different versions that a document may contain, near and far."""

Saved = Mapping[str, Workflow]
"""Workflows by their ids."""


def children_of(definition: Definition) -> Iterator[tuple[str, ChildWorkflow]]:
    """The `workflow` steps, and maps over one, in the document's order."""
    for name, step in definition.steps.items():
        if step.child is not None:
            yield name, step.child


def resolved(saved: Saved, child: ChildWorkflow) -> tuple[int, Definition] | None:
    """The version that would run now, and its document; None when there is none."""
    workflow = saved.get(child.workflow_id)
    if workflow is None or not workflow.exists:
        return None
    number = child.workflow_version or workflow.definitions[-1][0]
    definition = workflow.at(number)
    return None if definition is None else (number, definition)


def containment_faults(
    definition: Definition, saved: Saved, *, own_id: str | None = None, depth: int = 0
) -> Iterator[Fault]:
    """own_id: of the workflow that the document is, or will be, saved as. depth: of an execution of it."""
    for name, child in children_of(definition):
        at = child_place(definition.steps[name], name)
        workflow = saved.get(child.workflow_id)
        if child.workflow_id == own_id:
            yield Fault(pointer(*at, "workflow_id"), f"is {own_id!r} itself; expected another workflow")
        elif workflow is None or not workflow.exists:
            message = f"there is no workflow {child.workflow_id!r}; expected the id of a saved one"
            yield Fault(pointer(*at, "workflow_id"), message)
        elif workflow.is_archived:
            message = f"workflow {child.workflow_id!r} is archived; expected one that can be run"
            yield Fault(pointer(*at, "workflow_id"), message)
        elif (found := resolved(saved, child)) is None:
            known = ", ".join(str(number) for number, _ in workflow.definitions)
            message = f"workflow {child.workflow_id!r} has no version {child.workflow_version}"
            yield Fault(pointer(*at, "workflow_version"), f"{message}; expected one of: {known}")
        else:
            yield from nesting_faults(saved, child, own_id, depth, pointer(*at, "workflow_id"))
            yield from input_faults(definition, name, child, found[1])


def nesting_faults(
    saved: Saved, child: ChildWorkflow, own_id: str | None, depth: int, at: str
) -> Iterator[Fault]:
    within = Nesting(saved)
    height = within.height_of(child)
    if within.circle is not None or own_id in within.ids:
        message = f"workflow {child.workflow_id!r} contains {within.circle or own_id!r}"
        yield Fault(at, f"{message}, which would contain itself; expected no workflow within itself")
    elif depth + height >= MAX_DEPTH:
        message = f"{depth + height + 1} executions would be within each other"
        yield Fault(at, f"{message}; expected at most {MAX_DEPTH}")


class Nesting:
    """A walk over what a child contains, each version once.

    ids     of every workflow that was met
    circle  the id of one that contains itself, if any does
    """

    def __init__(self, saved: Saved) -> None:
        self._saved = saved
        self._heights: dict[tuple[str, int], int] = {}
        self._above: list[str] = []
        self.ids: set[str] = set()
        self.circle: str | None = None

    def height_of(self, child: ChildWorkflow) -> int:
        """How many executions stand within each other at most, the child's own included."""
        self.ids.add(child.workflow_id)
        if child.workflow_id in self._above:
            self.circle = child.workflow_id
            return 0
        if (found := resolved(self._saved, child)) is None:
            return 1
        key = (child.workflow_id, found[0])
        if key not in self._heights:
            self._above.append(child.workflow_id)
            inner = [self.height_of(within) for _, within in children_of(found[1])]
            self._above.pop()
            self._heights[key] = 1 + max(inner, default=0)
        return self._heights[key]


def input_faults(
    definition: Definition, name: str, child: ChildWorkflow, contained: Definition
) -> Iterator[Fault]:
    """Inputs that the contained workflow lacks, or misses, or that can not be of its type."""
    at = (*child_place(definition.steps[name], name), "inputs")
    names = names_within(definition, Catalog(), name)
    for key, given in child.inputs.items():
        if key not in contained.inputs:
            known = ", ".join(contained.inputs) or "none"
            message = f"workflow {child.workflow_id!r} has no such input; expected one of: {known}"
            yield Fault(pointer(*at, key), message)
        elif isinstance(given, str):
            expected = type_of_schema(contained.inputs[key])
            yield from condition_faults(given, names, pointer(*at, key), expected)
    for key, schema in contained.inputs.items():
        if key not in child.inputs and "default" not in schema:
            message = f"is missing; workflow {child.workflow_id!r} expects a value for this input"
            yield Fault(pointer(*at, key), message)
