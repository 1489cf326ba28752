"""Checks of a document's steps: their kinds, what they wait for, where routers lead, what conditions mean.

Called by `domain.checks`. Its one rule: a fault names the field by JSON pointer (RFC 6901) and says what was
expected there.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

from domain import graph
from domain.catalog import Catalog
from domain.conditions import ANY, Type, check, list_of, object_of, parse, type_of_schema
from domain.conditions.syntax import RESERVED
from domain.conditions.types import BOOL, NUMBER, TEXT, nullable
from domain.definition import Definition
from domain.errors import ConditionError, Fault
from domain.steps import KINDS, Approval, ChildWorkflow, Delay, Join, Map, Router, Signal, Step

ROOTS = ("inputs", "steps")
"""Names of an expression that are no step's: a step called so is reached as `steps.inputs`."""


MAX_MAPPED_NAME = 56
ITEM_INPUTS = ("item", "item_index")
"""What a map adds to the inputs of its tasks."""

ANSWER = object_of({"decision": Type("text", values=("approved", "rejected")), "by": TEXT, "comment": TEXT})
"""What conditions see of an approval."""


def pointer(*parts: str | int) -> str:
    """`pointer("tasks", "a/b", 0)` is `/tasks/a~1b/0`."""
    return "".join("/" + str(part).replace("~", "~0").replace("/", "~1") for part in parts)


def unknown(kind: str, name: str, known: Iterable[str], at: str) -> Fault:
    return Fault(at, f"unknown {kind} {name!r}; expected one of: {', '.join(sorted(known))}")


def flow_faults(definition: Definition, catalog: Catalog) -> Iterator[Fault]:
    for name, step in definition.steps.items():
        yield from kind_faults(name, step)
        yield from after_faults(definition, name, step)
        if step.router is not None:
            yield from router_faults(definition, catalog, name, step.router)
        if step.approval is not None:
            yield from approval_faults(definition, name, step.approval)
        if step.map is not None:
            yield from map_faults(definition, catalog, name, step.map)
        if step.wait is not None:
            yield from delay_faults(definition, catalog, name, step.wait)
        if step.workflow is not None:
            yield from child_faults(definition, catalog, name, step.workflow)
        if step.signal is not None:
            yield from signal_faults(definition, catalog, name, step.signal)
    yield from placing_faults(definition)
    if tangled := graph.cycle(definition.links):
        yield Fault("/steps", f"the steps {', '.join(tangled)} wait for each other; expected no cycle")


def kind_faults(name: str, step: Step) -> Iterator[Fault]:
    if len(step.kinds) != 1:
        found = f"has {' and '.join(step.kinds)}" if step.kinds else "has no kind"
        yield Fault(pointer("steps", name), f"{found}; expected exactly one of: {', '.join(KINDS)}")


def after_faults(definition: Definition, name: str, step: Step) -> Iterator[Fault]:
    at: tuple[str, ...] = ("steps", name, "after")
    if isinstance(step.after, Join):
        if (step.after.all is None) == (step.after.any is None):
            yield Fault(pointer(*at), "expected either all or any")
        at = (*at, "any" if step.is_any else "all")
    for index, before in enumerate(step.predecessors):
        if before not in definition.steps:
            yield unknown("step", before, definition.steps, pointer(*at, index))


def crew_place(step: Step) -> tuple[str, ...]:
    """Where in a step its crew stands."""
    if step.map is None:
        return ("crew",)
    return ("map",) if step.map.crew is None else ("map", "crew")


def placing_faults(definition: Definition) -> Iterator[Fault]:
    """Every task is part of exactly one step."""
    seen: dict[str, str] = {}
    for name in definition.steps:
        for index, task in enumerate(definition.tasks_of(name)):
            where = pointer("steps", name, *crew_place(definition.steps[name]), "tasks", index)
            if task not in definition.tasks:
                yield unknown("task", task, definition.tasks, where)
            elif task in seen:
                yield Fault(where, f"task {task!r} is already part of step {seen[task]!r}; expected it once")
            seen[task] = name
        if definition.steps[name].crew is None and name in definition.tasks:
            yield Fault(pointer("steps", name), "is called as a task is; expected a name of its own")
    for task in definition.tasks if definition.steps else ():
        if task not in seen:
            yield Fault(pointer("tasks", task), "is part of no step; expected a step that has it in its crew")


def router_faults(definition: Definition, catalog: Catalog, name: str, router: Router) -> Iterator[Fault]:
    at = ("steps", name, "router")
    ends = [("routes", index, "then", route.then) for index, route in enumerate(router.routes)]
    for *where, target in [*ends, *([("otherwise", router.otherwise)] if router.otherwise else [])]:
        if target not in definition.steps:
            yield unknown("step", str(target), definition.steps, pointer(*at, *where))
    names = names_before(definition, catalog, name)
    for index, route in enumerate(router.routes):
        yield from condition_faults(route.when, names, pointer(*at, "routes", index, "when"))


def approval_faults(definition: Definition, name: str, approval: Approval) -> Iterator[Fault]:
    at = ("steps", name, "approval")
    if approval.on_reject is not None and approval.on_reject not in definition.steps:
        yield unknown("step", approval.on_reject, definition.steps, pointer(*at, "on_reject"))
    if approval.approvers and approval.approvals > len(set(approval.approvers)):
        yield Fault(
            pointer(*at, "approvals"), f"expected at most {len(set(approval.approvers))}: its approvers"
        )
    before = graph.ancestors(definition.links, name)
    for index, shown in enumerate(approval.show or ()):
        where = pointer(*at, "show", index)
        if shown not in definition.steps:
            yield unknown("step", shown, definition.steps, where)
        elif shown not in before or not gives_output(definition.steps[shown]):
            yield Fault(where, f"step {shown!r} gives no output before {name!r}; expected an earlier step")


def map_faults(definition: Definition, catalog: Catalog, name: str, mapped: Map) -> Iterator[Fault]:
    at = ("steps", name, "map")
    names = names_before(definition, catalog, name)
    yield from condition_faults(mapped.over, names, pointer(*at, "over"), list_of(ANY))
    if sum(way is not None for way in (mapped.crew, mapped.tasks, mapped.workflow)) != 1:
        yield Fault(pointer(*at), "expected exactly one of: crew, tasks, workflow")
    if mapped.workflow is not None:
        yield from child_faults(definition, catalog, name, mapped.workflow)
        if mapped.on_failure != "fail":
            yield Fault(pointer(*at, "on_failure"), "expected it within workflow")
    place = ("steps", name, *crew_place(definition.steps[name]), "tasks")
    for index, task in enumerate(mapped.work.tasks if mapped.work else ()):
        if len(task) > MAX_MAPPED_NAME:
            most = f"expected at most {MAX_MAPPED_NAME} characters: items have a number behind"
            yield Fault(pointer(*place, index), most)
    if len(name) > MAX_MAPPED_NAME:
        yield Fault(pointer("steps", name), f"expected a name of at most {MAX_MAPPED_NAME} characters")
    for taken in ITEM_INPUTS:
        if taken in definition.inputs:
            yield Fault(pointer("inputs", taken), f"stands for an item of {name!r}; expected another name")


def delay_faults(definition: Definition, catalog: Catalog, name: str, delay: Delay) -> Iterator[Fault]:
    at = ("steps", name, "wait")
    if (delay.for_s is None) == (delay.until is None):
        yield Fault(pointer(*at), "expected either for_s or until")
    if delay.until is not None:
        names = names_before(definition, catalog, name)
        yield from condition_faults(delay.until, names, pointer(*at, "until"), TEXT)


def signal_faults(definition: Definition, catalog: Catalog, name: str, signal: Signal) -> Iterator[Fault]:
    known = {**catalog.schemas, **definition.schemas}
    if signal.payload_schema is not None and signal.payload_schema not in known:
        yield unknown(
            "schema", signal.payload_schema, known, pointer("steps", name, "signal", "payload_schema")
        )


def child_faults(
    definition: Definition, catalog: Catalog, name: str, child: ChildWorkflow
) -> Iterator[Fault]:
    """Of what the document itself says; whether there is such a workflow stands in `domain.containment`."""
    names = names_within(definition, catalog, name)
    for key, given in child.inputs.items():
        if isinstance(given, str):
            at = pointer(*child_place(definition.steps[name], name), "inputs", key)
            yield from condition_faults(given, names, at, ANY)


def child_place(step: Step, name: str) -> tuple[str, ...]:
    """Where its `workflow` stands in the document."""
    return ("steps", name, "workflow") if step.map is None else ("steps", name, "map", "workflow")


def names_within(definition: Definition, catalog: Catalog, name: str) -> dict[str, Type]:
    """What the inputs of a child can speak of: what comes before, and of a map the item."""
    names = names_before(definition, catalog, name)
    if definition.steps[name].map is None:
        return names
    return {**names, "item": ANY, "item_index": NUMBER}


def condition_faults(text: str, names: Mapping[str, Type], at: str, expected: Type = BOOL) -> Iterator[Fault]:
    try:
        node = parse(text)
    except ConditionError as error:
        yield Fault(at, str(error))
        return
    for fault in check(node, names, expected).faults:
        yield Fault(at, fault)


def names_before(definition: Definition, catalog: Catalog, step: str) -> dict[str, Type]:
    """What an expression of a step can speak of: the inputs, and the outputs of the steps before it."""
    before = graph.ancestors(definition.links, step)
    steps = {
        name: type_of_step(definition, catalog, name)
        for name, earlier in definition.steps.items()
        if name in before and has_value(earlier)
    }
    inputs = {name: type_of_schema(schema) for name, schema in definition.inputs.items()}
    plain = {name: type for name, type in steps.items() if is_plain(name)}
    return {**plain, "inputs": object_of(inputs), "steps": object_of(steps)}


def is_plain(step: str) -> bool:
    """Whether a step's name can stand in an expression as it is."""
    return step.isidentifier() and step not in ROOTS and step not in RESERVED


def gives_output(step: Step) -> bool:
    """Whether the step's output can be shown, and be the context of a task."""
    return step.work is not None or step.signal is not None or is_child(step)


def is_child(step: Step) -> bool:
    return step.child is not None


def has_value(step: Step) -> bool:
    """Whether conditions can speak of the step."""
    return gives_output(step) or step.approval is not None


def type_of_step(definition: Definition, catalog: Catalog, name: str) -> Type:
    """Of a crew: the object that its last task's schema describes, else `{text}`."""
    step = definition.steps[name]
    if step.approval is not None:
        return ANSWER
    if step.signal is not None:
        return schema_type(definition, catalog, step.signal.payload_schema)
    if step.child is not None:
        return ANY if step.map is None else list_of(ANY)
    tasks = definition.tasks_of(name)
    task = definition.tasks.get(tasks[-1]) if tasks else None
    schema = task.output_schema if task else None
    if step.map is not None:
        item = schema_type(definition, catalog, schema) if schema else TEXT
        return list_of(item if step.map.on_failure == "fail" else nullable(item))
    return schema_type(definition, catalog, schema) if schema else object_of({"text": TEXT})


def schema_type(definition: Definition, catalog: Catalog, schema: str | None) -> Type:
    known = catalog.schemas.get(schema or "")
    return type_of_schema(definition.schemas.get(schema or "") or (known.schema if known else None))
