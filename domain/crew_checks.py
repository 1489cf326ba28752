"""Checks of what one crew and one task say of how they are worked on: process, manager, planning, guardrails.

Called by `domain.checks`. Its one rule: an option that would have no effect where it stands is a fault.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

from domain.catalog import Catalog
from domain.definition import Crew, Definition, Guardrail
from domain.errors import Fault
from domain.flow_checks import crew_place, pointer, unknown


def unknown_model(model: str, catalog: Catalog, at: str) -> Fault:
    providers = ", ".join(catalog.providers)
    return Fault(
        at, f"unknown model {model!r}; expected one of the catalogue or of a provider in it: {providers}"
    )


def guardrail_faults(guardrail: Guardrail, schemas: Iterable[str], task: str) -> Iterator[Fault]:
    at = ("tasks", task, "guardrail")
    checks = (guardrail.description, guardrail.min_words, guardrail.max_words, guardrail.matches)
    if not any(checks) and guardrail.schema is None:
        known = "description, min_words, max_words, matches, schema"
        yield Fault(pointer(*at), f"checks nothing; expected one of: {known}")
    if guardrail.min_words and guardrail.max_words and guardrail.min_words > guardrail.max_words:
        yield Fault(pointer(*at, "min_words"), f"expected at most max_words, {guardrail.max_words}")
    if guardrail.schema and guardrail.schema not in schemas:
        yield unknown("schema", guardrail.schema, schemas, pointer(*at, "schema"))
    try:
        re.compile(guardrail.matches or "")
    except (re.error, OverflowError, RecursionError) as error:
        yield Fault(pointer(*at, "matches"), f"is not a regular expression: {error}")


def process_faults(definition: Definition, step: str, catalog: Catalog) -> Iterator[Fault]:
    node = definition.graph[step]
    if (crew := node.work) is None:
        return
    at = ("steps", step, *crew_place(node))
    yield from planning_faults(crew, catalog, at)
    if crew.process == "hierarchical":
        yield from manager_faults(definition, crew, catalog, at)
        return
    for field in ("manager_agent", "manager_model"):
        if getattr(crew, field) is not None:
            yield Fault(pointer(*at, field), "only a hierarchical crew has a manager; expected it left out")
    for task in crew.tasks:
        if task in definition.tasks and definition.tasks[task].agent is None:
            yield Fault(
                pointer("tasks", task, "agent"),
                "is missing; only a hierarchical crew's task may leave it out",
            )


def planning_faults(crew: Crew, catalog: Catalog, at: tuple[str, ...]) -> Iterator[Fault]:
    if crew.planning_model and not crew.planning:
        yield Fault(pointer(*at, "planning_model"), "without `planning: true` nothing is planned")
    if crew.planning_model and not catalog.has_model(crew.planning_model):
        yield unknown_model(crew.planning_model, catalog, pointer(*at, "planning_model"))
    if crew.planning and crew.planning_model is None and catalog.default_model is None:
        yield Fault(pointer(*at, "planning_model"), "is missing, and the catalogue has no default model")


def manager_faults(
    definition: Definition, crew: Crew, catalog: Catalog, at: tuple[str, ...]
) -> Iterator[Fault]:
    manager = crew.manager_agent
    if (manager is None) == (crew.manager_model is None):
        yield Fault(pointer(*at), "is hierarchical; expected either manager_agent or manager_model")
    if crew.manager_model and not catalog.has_model(crew.manager_model):
        yield unknown_model(crew.manager_model, catalog, pointer(*at, "manager_model"))
    if manager is not None and manager not in definition.agents:
        yield unknown("agent", manager, definition.agents, pointer(*at, "manager_agent"))
    elif manager is not None and definition.agents[manager].tools:
        yield Fault(pointer("agents", manager, "tools"), "a manager only delegates; expected no tools")
    if not definition.agents.keys() - {manager}:
        yield Fault("/agents", "the manager has nobody to delegate to; expected another agent")
    for name in crew.tasks:
        task = definition.tasks.get(name)
        if task and task.agent is not None and task.agent == manager:
            yield Fault(pointer("tasks", name, "agent"), "is the manager; expected another agent, or none")
