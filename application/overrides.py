"""What a fork has otherwise: other inputs, models, prompts, results of calls; checked as a document is.

`Overrides` is part of the body of a fork. Called by `application.forks`. Its one rule: a fault is named by
its JSON pointer within the request.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, TypeVar

import msgspec

from domain.catalog import Catalog
from domain.checks import placeholder_faults, pointer, unknown
from domain.definition import Agent, Definition, Json, ModelName, Name, Text, Title
from domain.errors import Fault
from domain.execution import ExecutionRequested

S = TypeVar("S", bound=msgspec.Struct)


class AgentOverride(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What an agent is from there on. null: as it was."""

    model: ModelName | None = None
    role: Title | None = None
    goal: Text | None = None
    backstory: Text | None = None


class TaskOverride(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a task asks for. null: as it was."""

    description: Text | None = None
    expected_output: Text | None = None


class CallOverride(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a call is taken to have answered: a model's text, or a tool's."""

    result: Annotated[str, msgspec.Meta(max_length=20_000)]


class Overrides(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What is different in the fork. model: of all agents, but for those that `agents` gives one; calls: by
    their ids in the history."""

    inputs: Annotated[dict[Name, Json], msgspec.Meta(max_length=100)] = {}
    model: ModelName | None = None
    agents: Annotated[dict[str, AgentOverride], msgspec.Meta(max_length=100)] = {}
    tasks: Annotated[dict[str, TaskOverride], msgspec.Meta(max_length=200)] = {}
    calls: Annotated[dict[str, CallOverride], msgspec.Meta(max_length=100)] = {}


def changed(of: S, override: msgspec.Struct | None) -> S:
    """With every field that the override gives."""
    given = {} if override is None else {name: getattr(override, name) for name in override.__struct_fields__}
    return msgspec.structs.replace(of, **{name: value for name, value in given.items() if value is not None})


def changed_definition(definition: Definition, overrides: Overrides) -> Definition:
    """The document as the fork pins it."""

    def agent(name: str, was: Agent) -> Agent:
        for_all = msgspec.structs.replace(was, model=overrides.model or was.model)
        return changed(for_all, overrides.agents.get(name))

    return msgspec.structs.replace(
        definition,
        agents={name: agent(name, was) for name, was in definition.agents.items()},
        tasks={name: changed(was, overrides.tasks.get(name)) for name, was in definition.tasks.items()},
    )


def override_faults(parent: ExecutionRequested, overrides: Overrides, catalog: Catalog) -> Iterator[Fault]:
    """What the parent's document lacks, unknown models, placeholders without an input."""
    definition = parent.definition
    for name in overrides.agents:
        if name not in definition.agents:
            yield unknown("agent", name, definition.agents, pointer("overrides", "agents", name))
    for name in overrides.tasks:
        if name not in definition.tasks:
            yield unknown("task", name, definition.tasks, pointer("overrides", "tasks", name))
    for at, model in models_named(overrides):
        if not catalog.has_model(model) and model not in parent.models:
            providers = ", ".join(catalog.providers)
            message = f"unknown model {model!r}; expected one of the catalogue or of a provider in it"
            yield Fault(at, f"{message}: {providers}")
    for fault in placeholder_faults(changed_definition(definition, overrides)):
        yield Fault(f"/overrides{fault.pointer}", fault.message)


def models_named(overrides: Overrides) -> Iterator[tuple[str, str]]:
    """Each with its pointer."""
    if overrides.model:
        yield "/overrides/model", overrides.model
    for name, agent in overrides.agents.items():
        if agent.model:
            yield pointer("overrides", "agents", name, "model"), agent.model
