"""Schedules: workflows that run at the times of a cron expression."""

from __future__ import annotations

import msgspec
from litestar import delete, get, post, put
from litestar.params import FromPath

from application.schedules import create_schedule, plan_of_execution, revise_schedule
from domain.errors import Fault, Invalid
from domain.plan import Plan
from domain.schedule import DeleteSchedule
from interfaces.http.answers import Accepted, Answer
from interfaces.http.bodies import read_json, read_nothing
from interfaces.http.commanding import answer, canonical, command
from interfaces.http.identifiers import checked_id
from interfaces.http.operation import (
    BODY_PROBLEMS,
    COMMAND_GIVES,
    COMMAND_HEADERS,
    COMMAND_PROBLEMS,
    a_list,
    a_resource,
    as_defined,
    operation,
)
from interfaces.http.queries import ListQuery, Query, WorkflowId, document_answer, page_answer, read_query
from interfaces.http.request import ApiRequest
from projections.schedules import NAME, ScheduleRow, get_schedule, list_schedules

TAG = "Schedules"
COMMANDED = (*COMMAND_PROBLEMS, *BODY_PROBLEMS, "not_found", "precondition_failed", "key_reused")

NIGHTLY: dict[str, object] = {
    "name": "Nightly post",
    "workflow_id": "blog-production",
    "inputs": {"industry": "solar power"},
    "cron": "0 2 * * *",
    "timezone": "Europe/Berlin",
}


class SchedulesQuery(ListQuery, frozen=True, kw_only=True):
    """What the list of schedules can be narrowed down by."""

    workflow_id: WorkflowId | None = None


NewSchedule = msgspec.defstruct(
    "NewSchedule",
    [
        ("workflow_id", str | None, None),
        ("execution_id", str | None, None),
        *[as_defined(field) for field in msgspec.structs.fields(Plan) if field.name != "workflow_id"],
    ],
    kw_only=True,
    frozen=True,
    forbid_unknown_fields=True,
    namespace={
        "__doc__": "A plan; workflow_id, or execution_id: what that execution ran, with the inputs it had."
    },
)


@post(
    "/v1/schedules",
    opt=operation(
        "create_schedule",
        "Run a workflow at certain times",
        tag=TAG,
        body=NewSchedule,
        examples={"nightly": NIGHTLY},
        answer={201: Accepted},
        problems=(*COMMAND_PROBLEMS, *BODY_PROBLEMS, "not_found", "key_reused"),
        headers=COMMAND_HEADERS,
        gives=(*COMMAND_GIVES, "Location"),
    ),
)
async def create(request: ApiRequest) -> Answer:
    """A slot's run has the id `<schedule>-<slot>`, such as `…-20261125T010000Z`: there is never a second."""
    wanted = await read_json(request, NewSchedule)
    plan = await plan_of(request, wanted)
    schedule_id, now = request.parts.clock.new_id(), request.parts.clock.now()
    outcome = await command(request, create_schedule(schedule_id, plan, now), canonical(wanted))
    location = f"/v1/schedules/{outcome.entity_id}"
    return await answer(request, outcome, projections=(NAME,), status=201, location=location)


async def plan_of(request: ApiRequest, wanted: msgspec.Struct) -> Plan:
    """Raises `Invalid` unless there is exactly one thing to run."""
    given = msgspec.structs.asdict(wanted)
    execution_id, workflow_id = given.pop("execution_id"), given.pop("workflow_id")
    if (execution_id is None) == (workflow_id is None):
        raise Invalid("expected either workflow_id or execution_id", (Fault("", "expected one of both"),))
    if execution_id is None:
        return Plan(workflow_id=checked_id("workflow", workflow_id), **given)
    if given["inputs"] or given["workflow_version"]:
        raise Invalid("inputs come from the execution", (Fault("/inputs", "expected none"),))
    times = Plan(workflow_id="", **given)
    return await plan_of_execution(request.parts.commands, checked_id("execution", execution_id), times)


@get(
    "/v1/schedules",
    opt=a_list("list_schedules", "Schedules, oldest first", tag=TAG, query=SchedulesQuery, item=ScheduleRow),
)
async def list_all(request: ApiRequest) -> Answer:
    """Each with its next slot and its last run."""
    return await page_answer(request, (NAME,), read_query(request, SchedulesQuery), list_schedules)


@get(
    "/v1/schedules/{schedule_id:str}",
    opt=a_resource("get_schedule", "One schedule", tag=TAG, query=Query, of=ScheduleRow),
)
async def detail(request: ApiRequest, schedule_id: FromPath[str]) -> Answer:
    """With its next slot, its last run, and what became of slots that did not run."""
    found_by = checked_id("schedule", schedule_id)
    return await document_answer(request, (NAME,), read_query(request, Query), get_schedule, found_by)


@put(
    "/v1/schedules/{schedule_id:str}",
    status_code=202,
    opt=operation(
        "revise_schedule",
        "Change a schedule, or switch it off",
        tag=TAG,
        body=Plan,
        examples={"off": {**NIGHTLY, "enabled": False}},
        answer={202: Accepted},
        problems=COMMANDED,
        headers=(*COMMAND_HEADERS, "If-Match"),
        gives=COMMAND_GIVES,
    ),
)
async def revise(request: ApiRequest, schedule_id: FromPath[str]) -> Answer:
    """Takes the whole plan. Slots count from now on; what was queued is dropped."""
    plan = await read_json(request, Plan)
    found_by = checked_id("schedule", schedule_id)
    wish = revise_schedule(found_by, plan, request.parts.clock.now())
    outcome = await command(request, wish, canonical(plan), stream=f"schedule-{found_by}")
    return await answer(request, outcome, projections=(NAME,))


@delete(
    "/v1/schedules/{schedule_id:str}",
    status_code=202,
    opt=operation(
        "delete_schedule",
        "No further runs",
        tag=TAG,
        answer={202: Accepted},
        problems=COMMANDED,
        headers=(*COMMAND_HEADERS, "If-Match"),
        gives=COMMAND_GIVES,
    ),
)
async def remove(request: ApiRequest, schedule_id: FromPath[str]) -> Answer:
    """Runs that are under way go on; the history stays in the log."""
    await read_nothing(request)
    wish = DeleteSchedule(schedule_id=checked_id("schedule", schedule_id))
    outcome = await command(request, wish, stream=wish.stream)
    return await answer(request, outcome, projections=(NAME,))


ROUTES = (create, list_all, detail, revise, remove)
