"""The only table from errors to HTTP: RFC 9457 `application/problem+json`, one shape for everything refused.

Called by the HTTP application as its exception handler. Its one rule: a problem says what was expected, and
never shows a stack, a query or a secret; what nobody expected is logged and answers 500 with its trace id.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import msgspec

from domain.errors import (
    Archived,
    Conflict,
    Fault,
    Invalid,
    KasalError,
    KeyReused,
    LogFull,
    LogUnavailable,
    NotCaughtUp,
    NotFound,
    PreconditionFailed,
    Rejected,
    TooLarge,
    Unauthenticated,
    Unavailable,
)

MEDIA_TYPE = "application/problem+json"


class Problem(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A refusal (RFC 9457).

    code       stable, snake_case, for programs; `type` is its URI
    detail     a sentence for people: what was expected
    errors     every fault found, by RFC 6901 JSON pointer into the body, or /query/<name>, /header/<name>
    trace_id   to find the request in the logs
    """

    type: str
    title: str
    status: int
    detail: str
    instance: str
    code: str
    trace_id: str
    errors: tuple[Fault, ...] = ()
    expected_version: int | None = None
    actual_version: int | None = None
    retry_after: int | None = None


@dataclass(frozen=True, slots=True)
class Kind:
    """What all problems of one code have in common."""

    status: int
    code: str
    title: str

    @property
    def type(self) -> str:
        return f"urn:kasal:problem:{self.code}"


KINDS: dict[str, Kind] = {
    kind.code: kind
    for kind in (
        Kind(400, "malformed", "The request can not be read"),
        Kind(401, "unauthenticated", "Credentials are missing or wrong"),
        Kind(403, "forbidden", "The request is not allowed"),
        Kind(404, "not_found", "There is nothing by that name"),
        Kind(405, "method_not_allowed", "The method is not allowed here"),
        Kind(406, "not_acceptable", "The answer is not available in that form"),
        Kind(408, "body_timeout", "The body did not arrive in time"),
        Kind(409, "conflict", "Another command was first"),
        Kind(409, "rejected", "The state forbids the command"),
        Kind(410, "archived", "The execution was archived"),
        Kind(410, "position_gone", "The log does not have that position"),
        Kind(412, "precondition_failed", "The version is not the one expected"),
        Kind(413, "too_large", "The request is too large"),
        Kind(415, "unsupported_media_type", "The body is of another type than expected"),
        Kind(421, "misdirected", "The request was meant for another host"),
        Kind(422, "invalid", "The content is wrong"),
        Kind(422, "key_reused", "The idempotency key was used with another request"),
        Kind(500, "internal", "Something unexpected went wrong"),
        Kind(503, "log_full", "Too many commands wait"),
        Kind(503, "log_unavailable", "The event log can not be reached"),
        Kind(503, "not_caught_up", "The read model is behind the position"),
        Kind(503, "unavailable", "Try again"),
    )
}
"""Every problem this API can answer, by its code."""

CODES: tuple[tuple[type[KasalError], str], ...] = (
    (Invalid, "invalid"),
    (Rejected, "rejected"),
    (Conflict, "conflict"),
    (PreconditionFailed, "precondition_failed"),
    (Archived, "archived"),
    (NotFound, "not_found"),
    (KeyReused, "key_reused"),
    (TooLarge, "too_large"),
    (Unauthenticated, "unauthenticated"),
    (LogFull, "log_full"),
    (LogUnavailable, "log_unavailable"),
    (NotCaughtUp, "not_caught_up"),
    (Unavailable, "unavailable"),
)
"""Each error of the tree that a client can cause, narrower before wider; any other is `internal`."""

VAGUE = {
    "log_unavailable": "The event log can not be reached; nothing was done. Try again.",
    "internal": "Something unexpected went wrong; it was logged under the trace id.",
}
"""In place of messages that may name hosts, files or worse."""


class Refused(KasalError):
    """A request that HTTP itself forbids; `code` is one of `KINDS`."""

    def __init__(
        self,
        code: str,
        detail: str,
        *,
        faults: tuple[Fault, ...] = (),
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(detail)
        self.code = code
        self.faults = faults
        self.headers = dict(headers or {})


def malformed(detail: str, *faults: Fault) -> Refused:
    return Refused("malformed", detail, faults=faults)


def code_of(error: Exception) -> str:
    """The problem code of an error of the tree; `internal` for everything else."""
    if isinstance(error, Refused):
        return error.code
    return next((code for kind, code in CODES if isinstance(error, kind)), "internal")


def problem_of(error: Exception, *, instance: str, trace_id: str) -> Problem:
    kind = KINDS[code_of(error)]
    return Problem(
        type=kind.type,
        title=kind.title,
        status=kind.status,
        detail=VAGUE.get(kind.code) or str(error) or kind.title,
        instance=instance,
        code=kind.code,
        trace_id=trace_id,
        errors=error.faults if isinstance(error, Invalid | Refused) else (),
        expected_version=error.expected if isinstance(error, PreconditionFailed) else None,
        actual_version=error.actual if isinstance(error, PreconditionFailed) else None,
        retry_after=error.retry_after_s if isinstance(error, Unavailable) else None,
    )


def headers_of(error: Exception) -> dict[str, str]:
    """The headers that belong to a problem."""
    match error:
        case Refused():
            return error.headers
        case Unauthenticated():
            return {"WWW-Authenticate": 'Bearer realm="kasal"'}
        case Unavailable():
            return {"Retry-After": str(error.retry_after_s)}
        case PreconditionFailed() if error.actual:
            return {"ETag": f'"v{error.actual}"'}
        case _:
            return {}
