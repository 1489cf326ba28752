"""What a call of the client can raise, as the API's problems (RFC 9457) have it.

KasalClientError
├── Unreachable             no connection, after all tries
└── ApiError                the API refused: `status`, `code`, `detail`, `errors`, `trace_id`
    ├── Malformed           400
    ├── Unauthenticated     401
    ├── Forbidden           403, 421
    ├── NotFound            404
    │   └── Archived        410: an execution that was; `detail` says where it went
    ├── Conflict            409
    ├── PositionGone        410
    ├── PreconditionFailed  412
    ├── Invalid             422: `errors` names each field
    └── Unavailable         503, after all tries: `retry_after_s`
"""

from __future__ import annotations

from collections.abc import Mapping

import msgspec


class FieldError(msgspec.Struct, frozen=True):
    """pointer: RFC 6901 into the body, or /query/<name>, /header/<name>. message: what was expected there."""

    pointer: str
    message: str


class Problem(msgspec.Struct, frozen=True):
    """What is read of a problem; an answer that is none has only a status."""

    status: int = 0
    code: str = ""
    title: str = ""
    detail: str = ""
    trace_id: str = ""
    errors: tuple[FieldError, ...] = ()
    retry_after: int | None = None


class KasalClientError(Exception):
    """The root."""


class Unreachable(KasalClientError):
    """The API could not be reached, or did not answer, in all the tries."""


class ApiError(KasalClientError):
    """The API's refusal; `str(error)` is its sentence, and what is wrong with each field."""

    def __init__(self, problem: Problem) -> None:
        fields = "".join(f"\n  {each.pointer}: {each.message}" for each in problem.errors)
        super().__init__((problem.detail or problem.title or f"status {problem.status}") + fields)
        self.status = problem.status
        self.code = problem.code
        self.detail = problem.detail
        self.errors = problem.errors
        self.trace_id = problem.trace_id


class Malformed(ApiError):
    """The request can not be read."""


class Unauthenticated(ApiError):
    """The token is missing or wrong."""


class Forbidden(ApiError):
    """Not allowed, or meant for another host."""


class NotFound(ApiError):
    """There is nothing by that name."""


class Archived(NotFound):
    """The execution has left the read tables; `detail` says where it went."""


class Conflict(ApiError):
    """The state forbids it now, or somebody else was first."""


class PositionGone(ApiError):
    """The log does not have that position."""


class PreconditionFailed(ApiError):
    """The version is not the one that the caller named."""


class Invalid(ApiError):
    """The content is wrong."""


class Unavailable(ApiError):
    """Try again after `retry_after_s`."""

    def __init__(self, problem: Problem) -> None:
        super().__init__(problem)
        self.retry_after_s = problem.retry_after or 1


BY_STATUS: Mapping[int, type[ApiError]] = {
    400: Malformed,
    401: Unauthenticated,
    403: Forbidden,
    404: NotFound,
    409: Conflict,
    410: PositionGone,
    412: PreconditionFailed,
    421: Forbidden,
    422: Invalid,
    503: Unavailable,
}


def error_of(status: int, body: bytes) -> ApiError:
    """The error of an answer."""
    try:
        problem = msgspec.json.decode(body, type=Problem)
    except msgspec.DecodeError:
        problem = Problem(detail=f"status {status}")
    problem = msgspec.structs.replace(problem, status=status)
    kind = Archived if problem.code == "archived" else BY_STATUS.get(status, ApiError)
    return kind(problem)
