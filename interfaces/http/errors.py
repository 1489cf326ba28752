"""Litestar's exception handler: every error becomes a problem, what nobody expected is logged.

Given to the application. Its one rule: it never raises and never tells more than `interfaces.problems` does.
"""

from __future__ import annotations

import os
from typing import Any, cast

import msgspec
import structlog
from litestar import Request, Response
from litestar.exceptions import HTTPException

from interfaces import problems
from interfaces.http import headers
from interfaces.http.request import ApiRequest, Incoming
from interfaces.problems import Problem, Refused

log = structlog.get_logger()

BY_STATUS = {
    400: "malformed",
    401: "unauthenticated",
    403: "forbidden",
    404: "not_found",
    405: "method_not_allowed",
    413: "too_large",
}
"""What Litestar itself refuses, before a route of ours is asked."""


def on_error(request: Request[Any, Any, Any], error: Exception) -> Response[bytes]:
    """The problem as a response."""
    path = str(request.scope["path"])
    known = refusal_of(error, path, request.method) if isinstance(error, HTTPException) else error
    problem, fields = problem_for(cast("ApiRequest", request), known)
    return Response(
        msgspec.json.encode(problem),
        status_code=problem.status,
        media_type=problems.MEDIA_TYPE,
        headers=fields,
    )


def problem_for(request: Incoming, error: Exception) -> tuple[Problem, dict[str, str]]:
    """The problem and the headers that go with it; a fault of ours is logged."""
    trace_id = headers.trace_id(request.header("traceparent")) or os.urandom(16).hex()
    problem = problems.problem_of(error, instance=str(request.scope["path"]), trace_id=trace_id)
    if problem.status >= 500:
        report(error, problem)
    fields = {"Cache-Control": "no-store", "X-Content-Type-Options": "nosniff"}
    return problem, fields | problems.headers_of(error)


def refusal_of(error: HTTPException, path: str, method: str) -> Exception:
    code = BY_STATUS.get(error.status_code)
    match code:
        case None:
            return error
        case "not_found":
            return Refused(code, f"there is no route {path}")
        case "method_not_allowed":
            allowed = {name.title(): value for name, value in (error.headers or {}).items()}
            return Refused(
                code, f"{method} is not allowed here; expected {allowed.get('Allow')}", headers=allowed
            )
        case _:
            return Refused(code, error.detail)


def report(error: Exception, problem: Problem) -> None:
    """The stack of what is a fault of ours. What is away says so itself, once and not for every request."""
    fields = {"code": problem.code, "trace_id": problem.trace_id, "path": problem.instance}
    if problem.status == 500:
        log.error("request failed", **fields, exc_info=error)
    else:
        log.debug("request refused", **fields, reason=str(error))
