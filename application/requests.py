"""The commands that people make, prepared: what they name is looked up, what they wrote is checked.

Called by the API, the CLI and the seeds. Each function returns a `Preparation` for `CommandHandler.handle`,
which makes it again when something that it read has changed meanwhile.
"""

from __future__ import annotations

from typing import NamedTuple

from application.documents import check, read_definition, read_inputs
from application.states import Preparation, Reads
from domain.catalog import CATALOG, KINDS, Catalog, catalog_of
from domain.definition import Definition, Json
from domain.errors import Fault, Invalid, NotFound, Rejected
from domain.execution import RequestExecution
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
        return CreateWorkflow(workflow_id=workflow_id, definition=definition)

    return prepare


def revise_workflow(workflow_id: str, document: object) -> Preparation:
    """Raises `Invalid` with every fault of the document."""

    async def prepare(reads: Reads) -> ReviseWorkflow:
        definition = read_definition(document, await whole_catalog(reads))
        return ReviseWorkflow(workflow_id=workflow_id, definition=definition)

    return prepare


def plant_workflow(workflow_id: str, document: object) -> Preparation:
    """For seeds. Raises `Invalid` with every fault of the document."""

    async def prepare(reads: Reads) -> PlantWorkflow:
        definition = read_definition(document, await whole_catalog(reads))
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


async def inline_definition(reads: Reads, document: object) -> Definition:
    try:
        return read_definition(document, await whole_catalog(reads))
    except Invalid as invalid:
        check([Fault(f"/definition{fault.pointer}", fault.message) for fault in invalid.faults])
        raise


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
    )
