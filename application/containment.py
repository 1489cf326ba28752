"""The workflows that a document contains, near and far: read, checked, and pinned for an execution.

Called by `application.requests`. Its one rule: everything that was read is a guard of the decision, so that
two workflows which are saved at the same time can not come to contain each other.
"""

from __future__ import annotations

from application.documents import check, value_faults
from application.states import Reads
from domain.containment import MAX_WORKFLOWS, children_of, containment_faults, resolved
from domain.definition import Definition
from domain.errors import Fault
from domain.execution.children import PinnedChild
from domain.flow_checks import child_place
from domain.workflow import WORKFLOW, Workflow


async def check_children(reads: Reads, definition: Definition, own_id: str | None = None) -> None:
    """Raises `Invalid` with every fault of the `workflow` steps, by pointers into the document."""
    if has_children(definition):
        check(faults_of(definition, await contained(reads, definition), own_id))


async def pinned_children(
    reads: Reads, definition: Definition, *, own_id: str | None, depth: int
) -> dict[str, PinnedChild]:
    """By step, what an execution that begins now will run. Raises `Invalid`."""
    if not has_children(definition):
        return {}
    saved = await contained(reads, definition)
    faults = faults_of(definition, saved, own_id, depth)
    at = "/definition" if own_id is None else "/workflow_id"
    check([placed(fault, at) for fault in faults])
    found = {name: resolved(saved, child) for name, child in children_of(definition)}
    return {name: PinnedChild(one[0], one[1].limits.budget) for name, one in found.items() if one}


def has_children(definition: Definition) -> bool:
    return any(step.child is not None for step in definition.steps.values())


def placed(fault: Fault, at: str) -> Fault:
    """In the request that starts: below the document that stands there, or at the id of a saved one."""
    if at == "/definition":
        return Fault(at + fault.pointer, fault.message)
    return Fault(at, f"its {fault.pointer} {fault.message}")


async def contained(reads: Reads, definition: Definition) -> dict[str, Workflow]:
    """Every workflow that the document contains, and that these do; at most `MAX_WORKFLOWS`."""
    found: dict[str, Workflow] = {}
    seen: set[tuple[str, int | None]] = set()
    waiting = [child for _, child in children_of(definition)]
    while waiting:
        child = waiting.pop()
        key = (child.workflow_id, child.workflow_version)
        if key in seen:
            continue
        seen.add(key)
        if len(seen) > MAX_WORKFLOWS:
            check([Fault("/steps", f"contain more than {MAX_WORKFLOWS} workflows; expected fewer")])
        found[child.workflow_id] = await reads.of(WORKFLOW, child.workflow_id)
        if (version := resolved(found, child)) is not None:
            waiting += [inner for _, inner in children_of(version[1])]
    return found


def faults_of(
    definition: Definition, saved: dict[str, Workflow], own_id: str | None, depth: int = 0
) -> list[Fault]:
    faults = [*containment_faults(definition, saved, own_id=own_id, depth=depth)]
    for name, child in children_of(definition):
        version = resolved(saved, child)
        for key, given in child.inputs.items() if version else ():
            schema = version[1].inputs.get(key) if version else None
            if schema is not None and not isinstance(given, str):
                at = (*child_place(definition.steps[name], name), "inputs", key)
                faults += value_faults(schema, given, *at)
    return faults
