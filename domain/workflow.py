"""A workflow: a named document with immutable versions. The version is the stream's own (1..n).

Commands come from the API and the seeds; the document is already whole and checked (`domain.checks`).
"""

from __future__ import annotations

from typing import TypeAlias, assert_never

import msgspec

from domain.definition import Definition
from domain.errors import NotFound, Rejected
from domain.message import Aggregate, Command, Event

# --- commands


class WorkflowCommand(Command, frozen=True):
    workflow_id: str

    @property
    def stream(self) -> str:
        return f"workflow-{self.workflow_id}"


class CreateWorkflow(WorkflowCommand, frozen=True, tag="CreateWorkflow"):
    definition: Definition


class ReviseWorkflow(WorkflowCommand, frozen=True, tag="ReviseWorkflow"):
    definition: Definition


class ArchiveWorkflow(WorkflowCommand, frozen=True, tag="ArchiveWorkflow"):
    """No further executions; its history and versions stay."""


class PlantWorkflow(WorkflowCommand, frozen=True, tag="PlantWorkflow"):
    """A seed's wish: there should be this workflow, unless a person revised or archived it."""

    definition: Definition


# --- events


class WorkflowCreated(Event, frozen=True, tag="workflow.created"):
    definition: Definition
    planted: bool = False


class WorkflowRevised(Event, frozen=True, tag="workflow.revised"):
    definition: Definition
    planted: bool = False


class WorkflowArchived(Event, frozen=True, tag="workflow.archived"):
    pass


WorkflowCommands: TypeAlias = CreateWorkflow | ReviseWorkflow | ArchiveWorkflow | PlantWorkflow
WorkflowEvents: TypeAlias = WorkflowCreated | WorkflowRevised | WorkflowArchived


# --- state


class Workflow(msgspec.Struct, frozen=True):
    """definitions: (version, document), oldest first. by_people: a person created or changed it."""

    definitions: tuple[tuple[int, Definition], ...] = ()
    version: int = 0
    is_archived: bool = False
    by_people: bool = False

    @property
    def exists(self) -> bool:
        return bool(self.definitions)

    @property
    def definition(self) -> Definition:
        """The newest document; the workflow must exist."""
        return self.definitions[-1][1]

    def at(self, version: int) -> Definition | None:
        """The document that was saved as `version`."""
        return next((definition for number, definition in self.definitions if number == version), None)


# --- decide and evolve


def decide(state: Workflow, command: WorkflowCommands) -> tuple[WorkflowEvents, ...]:
    match command:
        case CreateWorkflow(definition=definition):
            if state.exists:
                raise Rejected(f"CreateWorkflow is not allowed: {command.workflow_id!r} exists already")
            return (WorkflowCreated(definition=definition),)
        case ReviseWorkflow(definition=definition):
            check_open(state, command)
            return () if definition == state.definition else (WorkflowRevised(definition=definition),)
        case ArchiveWorkflow():
            if not state.exists:
                raise NotFound(f"there is no workflow {command.workflow_id!r}")
            return () if state.is_archived else (WorkflowArchived(),)
        case PlantWorkflow(definition=definition):
            if not state.exists:
                return (WorkflowCreated(definition=definition, planted=True),)
            if state.by_people or state.is_archived or definition == state.definition:
                return ()
            return (WorkflowRevised(definition=definition, planted=True),)
        case _:
            assert_never(command)


def check_open(state: Workflow, command: WorkflowCommands) -> None:
    if not state.exists:
        raise NotFound(f"there is no workflow {command.workflow_id!r}")
    if state.is_archived:
        raise Rejected(f"{type(command).__name__} is not allowed while archived")


def evolve(state: Workflow, event: WorkflowEvents) -> Workflow:
    version = state.version + 1
    match event:
        case WorkflowCreated() | WorkflowRevised():
            return Workflow(
                definitions=(*state.definitions, (version, event.definition)),
                version=version,
                by_people=state.by_people or not event.planted,
            )
        case WorkflowArchived():
            return msgspec.structs.replace(state, version=version, is_archived=True)
        case _:
            assert_never(event)


WORKFLOW = Aggregate(
    category="workflow",
    initial=Workflow(),
    decide=decide,
    evolve=evolve,
    commands=(CreateWorkflow, ReviseWorkflow, ArchiveWorkflow, PlantWorkflow),
    events=(WorkflowCreated, WorkflowRevised, WorkflowArchived),
)
