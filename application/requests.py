"""The commands that people make, prepared: what they name is looked up, what they wrote is checked.

Called by the API, the CLI and the seeds. Each function returns a `Preparation` for `CommandHandler.handle`,
which makes it again when something that it read has changed meanwhile.
"""

from __future__ import annotations

from typing import NamedTuple

import msgspec
from msgspec.structs import replace

from application.containment import check_children, pinned_children
from application.documents import check, read_definition, read_inputs
from application.states import Preparation, Reads
from domain.amounts import least
from domain.catalog import CATALOG, KINDS, Catalog, catalog_of
from domain.definition import Definition, Json
from domain.errors import Fault, Invalid, NotFound, Rejected
from domain.execution import ChildRequested, Execution, Parent, RequestExecution, child_execution_id
from domain.workflow import WORKFLOW, CreateWorkflow, PlantWorkflow, ReviseWorkflow


class Place(NamedTuple):
    """Where an execution is to run. None: as its document says."""

    queue: str | None = None
    priority: int | None = None


AS_WRITTEN = Place()


async def whole_catalog(reads: Reads) -> Catalog:
    """All four shelves, each a guard of the decision."""
    return catalog_of({kind: await reads.of(CATALOG, kind) for kind in KINDS})


def create_workflow(workflow_id: str, document: object) -> Preparation:
    """Raises `Invalid` with every fault of the document."""

    async def prepare(reads: Reads) -> CreateWorkflow:
        definition = read_definition(document, await whole_catalog(reads))
        await check_children(reads, definition, workflow_id)
        return CreateWorkflow(workflow_id=workflow_id, definition=definition)

    return prepare


def revise_workflow(workflow_id: str, document: object) -> Preparation:
    """Raises `Invalid` with every fault of the document."""

    async def prepare(reads: Reads) -> ReviseWorkflow:
        definition = read_definition(document, await whole_catalog(reads))
        await check_children(reads, definition, workflow_id)
        return ReviseWorkflow(workflow_id=workflow_id, definition=definition)

    return prepare


def plant_workflow(workflow_id: str, document: object) -> Preparation:
    """For seeds. Raises `Invalid` with every fault of the document."""

    async def prepare(reads: Reads) -> PlantWorkflow:
        definition = read_definition(document, await whole_catalog(reads))
        await check_children(reads, definition, workflow_id)
        return PlantWorkflow(workflow_id=workflow_id, definition=definition)

    return prepare


def run_workflow(
    execution_id: str,
    workflow_id: str,
    inputs: dict[str, Json],
    *,
    version: int | None = None,
    name: str | None = None,
    place: Place = AS_WRITTEN,
) -> Preparation:
    """Run a saved workflow: its newest version, or the one named. Raises `NotFound`, `Rejected`,
    `Invalid`."""

    async def prepare(reads: Reads) -> RequestExecution:
        number, definition = await saved_definition(reads, workflow_id, version)
        return await request_of(
            reads,
            execution_id,
            definition,
            inputs,
            name=name,
            workflow_id=workflow_id,
            workflow_version=number,
            place=place,
        )

    return prepare


def run_definition(
    execution_id: str,
    document: object,
    inputs: dict[str, Json],
    *,
    name: str | None = None,
    place: Place = AS_WRITTEN,
) -> Preparation:
    """Run a document that is saved nowhere else. Faults of the document have pointers below /definition."""

    async def prepare(reads: Reads) -> RequestExecution:
        definition = await inline_definition(reads, document)
        if definition.limits.per_day is not None:
            message = "is of no use to a document that is saved nowhere; expected a saved workflow"
            check([Fault("/definition/limits/per_day", message)])
        return await request_of(reads, execution_id, definition, inputs, name=name, place=place)

    return prepare


def run_child(parent_id: str, parent: Execution, wanted: ChildRequested) -> Preparation:
    """Run what a step of another execution wants, within the budget that this one leaves it.

    Raises `NotFound`, `Rejected`, `Invalid`, `TooLarge`.
    """
    above = parent.request.parent if parent.request else None
    depth = 1 + (above.depth if above else 0)
    lineage = Parent(parent_id, wanted.step, wanted.child, depth, per_day=parent.day_bounds)

    async def prepare(reads: Reads) -> RequestExecution:
        number, definition = await saved_definition(reads, wanted.workflow_id, wanted.workflow_version)
        budget = least(definition.limits.budget, wanted.budget)
        limits = replace(definition.limits, **msgspec.structs.asdict(budget))
        return await request_of(
            reads,
            child_execution_id(parent_id, wanted.child),
            replace(definition, limits=limits),
            wanted.inputs,
            name=None,
            workflow_id=wanted.workflow_id,
            workflow_version=number,
            parent=lineage,
        )

    return prepare


async def inline_definition(reads: Reads, document: object) -> Definition:
    try:
        definition = read_definition(document, await whole_catalog(reads))
        await check_children(reads, definition)
    except Invalid as invalid:
        check([Fault(f"/definition{fault.pointer}", fault.message) for fault in invalid.faults])
        raise
    return definition


async def saved_definition(
    reads: Reads, workflow_id: str, version: int | None = None
) -> tuple[int, Definition]:
    """The number and document of a workflow's version (None: the newest), which must be open for
    executions."""
    workflow = await reads.of(WORKFLOW, workflow_id)
    if not workflow.exists:
        raise NotFound(f"there is no workflow {workflow_id!r}")
    await refuse_archived(reads, workflow_id)
    number = workflow.definitions[-1][0] if version is None else version
    definition = workflow.at(number)
    if definition is None:
        raise NotFound(f"workflow {workflow_id!r} has no version {number}")
    return number, definition


async def refuse_archived(reads: Reads, workflow_id: str) -> None:
    """Raises `Rejected`."""
    if (await reads.of(WORKFLOW, workflow_id)).is_archived:
        raise Rejected(f"RequestExecution is not allowed while workflow {workflow_id!r} is archived")


async def request_of(
    reads: Reads,
    execution_id: str,
    definition: Definition,
    inputs: dict[str, Json],
    *,
    name: str | None,
    workflow_id: str | None = None,
    workflow_version: int | None = None,
    place: Place = AS_WRITTEN,
    parent: Parent | None = None,
) -> RequestExecution:
    models = (await reads.of(CATALOG, "models")).of_models
    default_model = models.default_model
    wanted = {*definition.models, *([default_model] if default_model else [])}
    return RequestExecution(
        execution_id=execution_id,
        name=name or definition.execution_name,
        definition=definition,
        inputs=read_inputs(definition, inputs),
        models={model: models.model(model) for model in sorted(wanted)},
        default_model=default_model,
        workflow_id=workflow_id,
        workflow_version=workflow_version,
        queue=place.queue,
        priority=place.priority,
        parent=parent,
        children=await pinned_children(
            reads, definition, own_id=workflow_id, depth=parent.depth if parent else 0
        ),
    )
