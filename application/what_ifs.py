"""What-ifs: an execution run again with other models or prompts, whose tools are answered and never run.

`what_if_execution` prepares the command for the API. Its one rule: nothing outside is touched; what the past
of tools can not answer ends the what-if there.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import cast

from application.documents import check, check_size, read_inputs
from application.journals import is_erased
from application.overrides import Overrides, changed_definition, override_faults
from application.requests import refuse_archived
from application.states import Preparation, Reads
from domain.catalog import CATALOG
from domain.checks import pointer
from domain.definition import Definition, Json
from domain.errors import Fault, Invalid, NotFound, Rejected
from domain.execution import ExecutionRequested, ForkedFrom, RequestExecution
from domain.registry import event_of

NAME_SUFFIX = " (what if)"
HARMLESS = frozenset({"crew", "router"})
"""Kinds of steps that do nothing outside of models and tools."""


def what_if_execution(
    execution_id: str, parent_id: str, overrides: Overrides, *, tenant: str, name: str | None = None
) -> Preparation:
    """A new execution of the same document, changed, beside the whole past of `parent_id`.

    Raises `NotFound`, `Rejected`, `Invalid`, `TooLarge`.
    """

    async def prepare(reads: Reads) -> RequestExecution:
        recorded = await reads.events(f"execution-{parent_id}")
        if not recorded or recorded[0].metadata.tenant != tenant:
            raise NotFound(f"there is no execution {parent_id!r}")
        if is_erased(recorded):
            raise Rejected(f"{parent_id!r} was erased: nothing of it is left to begin from")
        parent = cast("ExecutionRequested", event_of(recorded[0]))
        if parent.workflow_id is not None:
            await refuse_archived(reads, parent.workflow_id)
        refuse_others(parent.definition)
        shelf = await reads.of(CATALOG, "models")
        catalog = shelf.of_models
        check([*result_faults(overrides), *override_faults(parent, overrides, catalog)])
        definition = changed_definition(parent.definition, overrides)
        check_size(definition)
        default = [parent.default_model] if parent.default_model else []
        return RequestExecution(
            execution_id=execution_id,
            name=name or parent.name[: 100 - len(NAME_SUFFIX)] + NAME_SUFFIX,
            definition=definition,
            inputs=inputs_of(parent, definition, overrides),
            models={
                model: parent.models.get(model) or catalog.model(model)
                for model in sorted({*definition.models, *default})
            },
            default_model=parent.default_model,
            workflow_id=parent.workflow_id,
            workflow_version=parent.workflow_version,
            queue=parent.queue,
            priority=parent.priority,
            forked_from=ForkedFrom(parent_id, recorded[-1].version, is_what_if=True),
        )

    return prepare


def refuse_others(definition: Definition) -> None:
    """Raises `Rejected` for a document with a step that acts outside, or waits for somebody."""
    for name, step in definition.graph.items():
        if others := sorted(set(step.kinds) - HARMLESS):
            raise Rejected(
                f"a what-if is not allowed: step {name!r} is a {others[0]}; it runs crews and routers"
            )


def result_faults(overrides: Overrides) -> Iterator[Fault]:
    for call in overrides.calls:
        message = "expected only in a fork: a what-if takes every tool's answer as it was"
        yield Fault(pointer("overrides", "calls", call), message)


def inputs_of(parent: ExecutionRequested, definition: Definition, overrides: Overrides) -> dict[str, Json]:
    try:
        return read_inputs(definition, {**parent.inputs, **overrides.inputs})
    except Invalid as invalid:
        check([Fault(f"/overrides{fault.pointer}", fault.message) for fault in invalid.faults])
        raise
