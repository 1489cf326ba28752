"""What can be done to an execution: cancel, pause, resume, retry; archive and erase, when it has ended.

Its one rule: each route is one command; saying it twice changes nothing more.
"""

from __future__ import annotations

from typing import Annotated, Any

import msgspec
from litestar import post
from litestar.params import FromPath

from application.resuming import resumed
from domain.execution import (
    ArchivedFile,
    ArchiveExecution,
    CancelExecution,
    EraseExecution,
    Execution,
    PauseExecution,
    ResumeExecution,
    RetryExecution,
    Status,
)
from domain.execution.archiving import MAX_FILES
from interfaces.http.answers import Accepted, Answer
from interfaces.http.bodies import read_json
from interfaces.http.commanding import answer, canonical, command
from interfaces.http.executions import PROJECTIONS, TAG
from interfaces.http.identifiers import checked_id
from interfaces.http.operation import (
    BODY_PROBLEMS,
    COMMAND_GIVES,
    COMMAND_HEADERS,
    COMMAND_PROBLEMS,
    operation,
)
from interfaces.http.request import ApiRequest


class Reason(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Why, for the history."""

    reason: Annotated[str, msgspec.Meta(max_length=2_000)] = ""


class Archived(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Files that hold the execution whole, and where they are; none: the log alone keeps it."""

    place: Annotated[str, msgspec.Meta(max_length=1_000)] = ""
    files: Annotated[tuple[ArchivedFile, ...], msgspec.Meta(max_length=MAX_FILES)] = ()


class Nothing(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """No fields."""


def act(id: str, summary: str, **rest: Any) -> dict[str, Any]:
    """The `opt` of a route that changes an execution."""
    return operation(
        id,
        summary,
        tag=TAG,
        is_body_optional=True,
        answer={202: Accepted},
        problems=(*COMMAND_PROBLEMS, *BODY_PROBLEMS, "not_found", "precondition_failed", "key_reused"),
        headers=(*COMMAND_HEADERS, "If-Match"),
        gives=COMMAND_GIVES,
        **rest,
    )


async def acted(
    request: ApiRequest,
    wish: CancelExecution
    | PauseExecution
    | ResumeExecution
    | RetryExecution
    | ArchiveExecution
    | EraseExecution,
    wanted: Reason | Nothing | Archived,
    then: Status | None,
) -> Answer:
    """The answer to a wish. then: the status that it brought, if any, for a repeat whose state is past."""
    whole = resumed(wish, request.parts.commands.now()) if isinstance(wish, ResumeExecution) else wish
    outcome = await command(request, whole, canonical(wanted), stream=wish.stream)
    state = outcome.state
    status = state.status if isinstance(state, Execution) else then
    return await answer(request, outcome, projections=PROJECTIONS, execution_status=status)


@post(
    "/v1/executions/{execution_id:str}/cancel",
    opt=act(
        "cancel_execution",
        "Stop an execution",
        body=Reason,
        examples={"reason": {"reason": "The customer has withdrawn"}},
    ),
)
async def cancel(request: ApiRequest, execution_id: FromPath[str]) -> Answer:
    """Its runner hears of it within a second, whatever hangs there. One that is cancelled already stays so;
    one that has ended otherwise refuses (409)."""
    wanted = await read_json(request, Reason, is_optional=True)
    wish = CancelExecution(execution_id=checked_id("execution", execution_id), reason=wanted.reason)
    return await acted(request, wish, wanted, Status.CANCELLED)


@post(
    "/v1/executions/{execution_id:str}/pause",
    opt=act(
        "pause_execution",
        "Begin nothing more until it is resumed",
        body=Reason,
        examples={"reason": {"reason": "The model is too expensive today"}},
    ),
)
async def pause(request: ApiRequest, execution_id: FromPath[str]) -> Answer:
    """Model and tool calls in flight come to their end and are recorded; no new one begins, and no process is
    held. It lasts over restarts; the time does not count for `limits.timeout_s`."""
    wanted = await read_json(request, Reason, is_optional=True)
    wish = PauseExecution(execution_id=checked_id("execution", execution_id), reason=wanted.reason)
    return await acted(request, wish, wanted, Status.PAUSED)


@post(
    "/v1/executions/{execution_id:str}/resume",
    opt=act("resume_execution", "Go on where it was paused", body=Nothing, examples={"nothing": {}}),
)
async def resume(request: ApiRequest, execution_id: FromPath[str]) -> Answer:
    """What is recorded is not done again; a step that was put off after a failure waits for the rest of it.
    One that is not paused stays as it is; one that waits, for an approval for example, refuses (409):
    what it waits for ends its wait."""
    wanted = await read_json(request, Nothing, is_optional=True)
    wish = ResumeExecution(execution_id=checked_id("execution", execution_id))
    return await acted(request, wish, wanted, Status.PENDING)


@post(
    "/v1/executions/{execution_id:str}/retry",
    opt=act("retry_execution", "Go on where it failed", body=Nothing, examples={"nothing": {}}),
)
async def retry(request: ApiRequest, execution_id: FromPath[str]) -> Answer:
    """For one that is FAILED or TIMED_OUT; any other refuses (409). Completed steps stay, and calls whose
    outcome is recorded are not made again; the time of `limits.timeout_s` is counted anew."""
    wanted = await read_json(request, Nothing, is_optional=True)
    wish = RetryExecution(execution_id=checked_id("execution", execution_id))
    return await acted(request, wish, wanted, Status.PENDING)


@post(
    "/v1/executions/{execution_id:str}/archive",
    opt=act(
        "archive_execution",
        "Drop an execution that has ended from the read tables",
        body=Archived,
        examples={
            "written": {
                "place": "/srv/archive",
                "files": [{"name": "2026-08/0190.ndjson", "sha256": "0" * 64, "size_bytes": 81_920}],
            },
            "dropped": {},
        },
    ),
)
async def archive(request: ApiRequest, execution_id: FromPath[str]) -> Answer:
    """What `kasal retention archive` and `kasal cleanup` send. From then on queries answer 410, with what is
    said here of where it went, and nothing can be done to the execution; its usage still counts, and its
    export and audit bundle are still there. `If-Match` names the version that the files hold."""
    wanted = await read_json(request, Archived, is_optional=True)
    wish = ArchiveExecution(
        execution_id=checked_id("execution", execution_id), place=wanted.place, files=wanted.files
    )
    return await acted(request, wish, wanted, None)


@post(
    "/v1/executions/{execution_id:str}/erase",
    opt=act(
        "erase_execution",
        "Destroy what an execution said, and keep that it happened",
        body=Reason,
        examples={"reason": {"reason": "Request 4711 of the data subject"}},
    ),
)
async def erase(request: ApiRequest, execution_id: FromPath[str]) -> Answer:
    """For one that has ended; any other refuses (409), as does one that was recorded before contents were
    encrypted. The key of its contents is destroyed: inputs, prompts, outputs, arguments, results and comments
    are gone from the log, the read models, streams and exports, for good. That it ran, when, in which steps
    and at what cost stays, and every proof holds. `reason` stays, too. Nothing can be done to it afterwards.
    """
    wanted = await read_json(request, Reason, is_optional=True)
    wish = EraseExecution(execution_id=checked_id("execution", execution_id), reason=wanted.reason)
    return await acted(request, wish, wanted, None)
