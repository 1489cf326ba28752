"""Workflows: create, revise, archive; list, detail, versions."""

from __future__ import annotations

from typing import Annotated

import msgspec
from litestar import get, post, put
from litestar.params import FromPath

from application.requests import create_workflow, revise_workflow
from domain.definition import Definition
from domain.errors import NotFound, Rejected
from domain.workflow import ArchiveWorkflow
from interfaces.http.answers import Accepted, Answer
from interfaces.http.bodies import JSON_TYPES, YAML_TYPES, read_document, read_nothing
from interfaces.http.commanding import answer, canonical, command
from interfaces.http.examples import BLOG
from interfaces.http.identifiers import checked_id
from interfaces.http.operation import (
    BODY_PROBLEMS,
    COMMAND_GIVES,
    COMMAND_HEADERS,
    COMMAND_PROBLEMS,
    a_list,
    a_resource,
    operation,
)
from interfaces.http.queries import ListQuery, NamePart, Query, document_answer, page_answer, read_query
from interfaces.http.request import ApiRequest
from interfaces.problems import Refused
from projections.workflow_detail import (
    WorkflowDetail,
    WorkflowVersion,
    get_version,
    get_workflow,
    list_versions,
)
from projections.workflow_list import WorkflowRow, list_workflows

TAG = "Workflows"
PROJECTIONS = ("workflow_list", "workflow_detail")
DOCUMENT_TYPES = (*sorted(JSON_TYPES), *sorted(YAML_TYPES))


@post(
    "/v1/workflows",
    opt=operation(
        "create_workflow",
        "Save a new workflow",
        tag=TAG,
        body=Definition,
        body_types=DOCUMENT_TYPES,
        examples={"blog_production": BLOG},
        answer={201: Accepted},
        problems=(*COMMAND_PROBLEMS, *BODY_PROBLEMS, "key_reused"),
        headers=COMMAND_HEADERS,
        gives=(*COMMAND_GIVES, "Location"),
    ),
)
async def create(request: ApiRequest) -> Answer:
    """The document is checked whole before anything is stored; every fault is named at once in `errors`."""
    document = await read_document(request)
    workflow_id = request.parts.clock.new_id()
    outcome = await command(
        request, create_workflow(workflow_id, document), canonical(document, ordered=True)
    )
    location = f"/v1/workflows/{outcome.entity_id}"
    return await answer(request, outcome, projections=PROJECTIONS, status=201, location=location)


@put(
    "/v1/workflows/{workflow_id:str}",
    opt=operation(
        "revise_workflow",
        "Save a new version of a workflow",
        tag=TAG,
        body=Definition,
        body_types=DOCUMENT_TYPES,
        examples={"blog_production": BLOG},
        answer={202: Accepted, 201: Accepted},
        problems=(*COMMAND_PROBLEMS, *BODY_PROBLEMS, "not_found", "precondition_failed", "key_reused"),
        headers=(*COMMAND_HEADERS, "If-Match", "If-None-Match"),
        gives=COMMAND_GIVES,
    ),
)
async def revise(request: ApiRequest, workflow_id: FromPath[str]) -> Answer:
    """With `If-Match` only that version is revised. With `If-None-Match: *` it creates a workflow under an id
    of the caller's choice."""
    document = await read_document(request)
    stream = f"workflow-{checked_id('workflow', workflow_id)}"
    if (request.header("if-none-match") or "").strip() == "*":
        return await create_as(request, workflow_id, document)
    try:
        body = canonical(document, ordered=True)
        outcome = await command(request, revise_workflow(workflow_id, document), body, stream=stream)
    except NotFound:
        if request.header("if-match") is None:
            raise
        detail = f"there is no workflow {workflow_id!r}, so no version of it matches"
        raise Refused("precondition_failed", detail) from None
    return await answer(request, outcome, projections=PROJECTIONS)


async def create_as(request: ApiRequest, workflow_id: str, document: object) -> Answer:
    try:
        body = canonical(document, ordered=True)
        outcome = await command(request, create_workflow(workflow_id, document), body)
    except Rejected:
        raise Refused("precondition_failed", f"workflow {workflow_id!r} exists already") from None
    location = f"/v1/workflows/{workflow_id}"
    return await answer(request, outcome, projections=PROJECTIONS, status=201, location=location)


@post(
    "/v1/workflows/{workflow_id:str}/archive",
    opt=operation(
        "archive_workflow",
        "Allow no further executions of a workflow",
        tag=TAG,
        answer={202: Accepted},
        problems=(*COMMAND_PROBLEMS, *BODY_PROBLEMS, "not_found", "precondition_failed", "key_reused"),
        headers=(*COMMAND_HEADERS, "If-Match"),
        gives=COMMAND_GIVES,
    ),
)
async def archive(request: ApiRequest, workflow_id: FromPath[str]) -> Answer:
    """Its history and versions stay. A workflow that is archived already stays as it is."""
    wish = ArchiveWorkflow(workflow_id=checked_id("workflow", workflow_id))
    await read_nothing(request)
    outcome = await command(request, wish, stream=wish.stream)
    return await answer(request, outcome, projections=PROJECTIONS)


class WorkflowsQuery(ListQuery, frozen=True, kw_only=True):
    """What the list of workflows can be narrowed down by."""

    name: NamePart | None = None
    is_archived: Annotated[bool, msgspec.Meta(description="Left out: both.")] | None = None


@get(
    "/v1/workflows",
    opt=a_list("list_workflows", "Workflows, newest first", tag=TAG, query=WorkflowsQuery, item=WorkflowRow),
)
async def list_all(request: ApiRequest) -> Answer:
    """Each in its newest version, without its document."""
    return await page_answer(request, ("workflow_list",), read_query(request, WorkflowsQuery), list_workflows)


@get(
    "/v1/workflows/{workflow_id:str}",
    opt=a_resource("get_workflow", "A workflow with its document", tag=TAG, query=Query, of=WorkflowDetail),
)
async def detail(request: ApiRequest, workflow_id: FromPath[str]) -> Answer:
    """In its newest version; the ETag is what `If-Match` of a revision takes."""
    query, found_by = read_query(request, Query), checked_id("workflow", workflow_id)
    return await document_answer(request, ("workflow_detail",), query, get_workflow, found_by)


@get(
    "/v1/workflows/{workflow_id:str}/versions",
    opt=a_list(
        "list_workflow_versions",
        "Every version of a workflow, newest first",
        tag=TAG,
        query=ListQuery,
        item=WorkflowVersion,
        within=True,
    ),
)
async def versions(request: ApiRequest, workflow_id: FromPath[str]) -> Answer:
    """Versions never change."""
    query, found_by = read_query(request, ListQuery), checked_id("workflow", workflow_id)
    return await page_answer(request, ("workflow_detail",), query, list_versions, found_by)


@get(
    "/v1/workflows/{workflow_id:str}/versions/{version:int}",
    opt=a_resource(
        "get_workflow_version", "One version of a workflow", tag=TAG, query=Query, of=WorkflowVersion
    ),
)
async def one_version(request: ApiRequest, workflow_id: FromPath[str], version: FromPath[int]) -> Answer:
    """The document as it was saved, by whom and when."""
    query, found_by = read_query(request, Query), checked_id("workflow", workflow_id)
    return await document_answer(request, ("workflow_detail",), query, get_version, found_by, version)
