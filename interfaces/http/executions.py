"""Executions: start one, and the name that a start would give. What can be done to one: `life.py`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any, TypeVar

import msgspec
from litestar import post

from application.requests import Place, inline_definition, run_definition, run_workflow, saved_definition
from application.states import Preparation
from domain.definition import Json
from domain.errors import Fault, Invalid
from domain.execution import Status
from domain.message import Aggregate, Recorded
from domain.terms import Name, Priority
from interfaces.http.answers import Accepted, Answer, json_answer
from interfaces.http.bodies import read_json
from interfaces.http.commanding import answer, canonical, command
from interfaces.http.examples import BLOG, START_INLINE, START_SAVED
from interfaces.http.identifiers import checked_id
from interfaces.http.operation import (
    BODY_PROBLEMS,
    COMMAND_GIVES,
    COMMAND_HEADERS,
    COMMAND_PROBLEMS,
    operation,
)
from interfaces.http.request import ApiRequest

TAG = "Executions"
PROJECTIONS = ("execution_list", "execution_detail", "execution_history", "execution_timeline")

Version = Annotated[int, msgspec.Meta(ge=1, le=2**31 - 1)]
S = TypeVar("S")


class What(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What to run: a saved workflow by its id (the newest version, or the one named), or a document."""

    workflow_id: str | None = None
    workflow_version: Version | None = None
    definition: dict[str, Json] | None = None

    def check(self) -> None:
        """Raises `Invalid` unless there is exactly one thing to run."""
        if (self.workflow_id is None) == (self.definition is None):
            raise Invalid("expected either workflow_id or definition", (Fault("", "expected one of both"),))
        if self.definition is not None and self.workflow_version is not None:
            fault = Fault("/workflow_version", "expected only beside workflow_id")
            raise Invalid("an inline definition has no version", (fault,))


class StartExecution(What, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """inputs: a value for each input of the workflow that has no default. name: made from the workflow and
    its roles where none is given. queue, priority (the higher is taken first): those of the document where
    none are given."""

    inputs: dict[str, Json] = {}
    name: Annotated[str, msgspec.Meta(min_length=1, max_length=100)] | None = None
    queue: Name | None = None
    priority: Priority | None = None

    @property
    def place(self) -> Place:
        return Place(self.queue, self.priority)


class GenerateName(What, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What the name is wanted for; inputs may come along and change nothing."""

    inputs: dict[str, Json] = {}


class GeneratedName(msgspec.Struct, frozen=True):
    """Deterministic, at most 100 characters."""

    name: str


@post(
    "/v1/executions",
    opt=operation(
        "start_execution",
        "Run a workflow",
        tag=TAG,
        body=StartExecution,
        examples={"saved_workflow": START_SAVED, "inline_definition": START_INLINE},
        answer={201: Accepted},
        problems=(*COMMAND_PROBLEMS, *BODY_PROBLEMS, "not_found", "key_reused"),
        headers=COMMAND_HEADERS,
        gives=(*COMMAND_GIVES, "Location"),
    ),
)
async def start(request: ApiRequest) -> Answer:
    """By `workflow_id` or with an inline `definition`, which is pinned: later changes do not reach it."""
    wanted = await read_json(request, StartExecution)
    wanted.check()
    execution_id = request.parts.clock.new_id()
    has_key = request.header("idempotency-key") is not None
    outcome = await command(request, run(execution_id, wanted), fingerprint(wanted) if has_key else b"")
    return await answer(
        request,
        outcome,
        projections=PROJECTIONS,
        status=201,
        location=f"/v1/executions/{outcome.entity_id}",
        execution_status=Status.PENDING,
    )


def run(execution_id: str, wanted: StartExecution) -> Preparation:
    if wanted.definition is not None:
        return run_definition(
            execution_id, wanted.definition, wanted.inputs, name=wanted.name, place=wanted.place
        )
    workflow_id = checked_id("workflow", wanted.workflow_id or "")
    return run_workflow(
        execution_id,
        workflow_id,
        wanted.inputs,
        version=wanted.workflow_version,
        name=wanted.name,
        place=wanted.place,
    )


def fingerprint(wanted: StartExecution) -> bytes:
    """The same for requests that mean the same: the order of keys counts in the document only."""
    rest = msgspec.structs.replace(wanted, definition=None)
    return canonical(wanted.definition, ordered=True) + canonical(rest)


@post(
    "/v1/executions/generate-name",
    status_code=200,
    opt=operation(
        "generate_execution_name",
        "The name that starting would give",
        tag=TAG,
        body=GenerateName,
        examples={"inline_definition": {"definition": BLOG}},
        answer={200: GeneratedName},
        problems=(*BODY_PROBLEMS, "invalid", "rejected", "not_found", "log_unavailable"),
    ),
)
async def generate_name(request: ApiRequest) -> Answer:
    """From the workflow's name and the roles that work on it; nothing is started or stored."""
    wanted = await read_json(request, GenerateName)
    wanted.check()
    reads = FreshReads(request)
    if wanted.definition is not None:
        definition = await inline_definition(reads, wanted.definition)
    else:
        workflow_id = checked_id("workflow", wanted.workflow_id or "")
        _, definition = await saved_definition(reads, workflow_id, wanted.workflow_version)
    return json_answer(GeneratedName(definition.execution_name))


class FreshReads:
    """`Reads` outside of a command."""

    def __init__(self, request: ApiRequest) -> None:
        self._commands = request.parts.commands

    async def of(self, aggregate: Aggregate[S, Any, Any], entity_id: str) -> S:
        return await self._commands.state_of(aggregate, entity_id)

    async def events(self, stream: str) -> Sequence[Recorded]:
        return await self._commands.events(stream)
