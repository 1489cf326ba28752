"""What the API document says of a route, kept with the route and read by `openapi`.

Called where routes are declared: `@get("/v1/workflows", opt=operation(...))`. Its one rule: what a route
takes (`query`, `body`) is the very type that the route checks with, so document and behaviour can not differ.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, cast

import msgspec

from interfaces.http.admission import ANSWERS, PUBLIC

OPERATION = "operation"
"""The key in a route's `opt`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Operation:
    """
    id             the operationId, snake_case
    answer         the type of the successful body, by status; None for one without a body
    media_types    of the successful body
    query          the struct whose fields are the query parameters
    is_body_optional  the body may be left out
    body           the type of the request body; None: it takes none
    body_types     media types of the request body
    examples       request bodies by name
    problems       the problem codes besides those of every route
    headers        names of the request headers that this route honours
    gives          names of the response headers of the successful answer
    """

    id: str
    tag: str
    summary: str
    answer: Mapping[int, Any]
    media_types: tuple[str, ...] = ("application/json",)
    query: type[msgspec.Struct] | None = None
    body: Any = None
    is_body_optional: bool = False
    body_types: tuple[str, ...] = ("application/json",)
    examples: Mapping[str, object] = field(default_factory=dict)
    problems: tuple[str, ...] = ()
    headers: tuple[str, ...] = ()
    gives: tuple[str, ...] = ()
    is_public: bool = False


COMMAND_HEADERS = ("Idempotency-Key", "Prefer", "traceparent")
COMMAND_GIVES = ("ETag", "Kasal-Position", "Preference-Applied", "Idempotency-Replayed")
COMMAND_PROBLEMS = ("conflict", "rejected", "invalid", "log_full", "log_unavailable")
BODY_PROBLEMS = ("malformed", "unsupported_media_type", "too_large", "body_timeout")

QUERY_HEADERS = ("Kasal-After",)
DETAIL_HEADERS = ("Kasal-After", "If-None-Match")
LIST_GIVES = ("Kasal-Position", "Link")
DETAIL_GIVES = ("Kasal-Position", "ETag")
LIST_PROBLEMS = ("malformed", "position_gone", "not_caught_up", "unavailable")
DETAIL_PROBLEMS = (*LIST_PROBLEMS, "not_found")


def page_of(item: type) -> type[msgspec.Struct]:
    """The type of a page of a list."""
    fields = [("items", tuple[item, ...]), ("next_cursor", str | None)]  # type: ignore[valid-type]
    return msgspec.defstruct(f"{item.__name__}Page", fields, namespace={"__doc__": "One page of a list."})


def as_defined(field: msgspec.structs.FieldInfo) -> tuple[str, Any, Any] | tuple[str, Any]:
    """A field of a struct, for `defstruct`."""
    if field.required:
        return (field.name, field.type)
    if field.default_factory is not msgspec.NODEFAULT:
        return (field.name, field.type, msgspec.field(default_factory=field.default_factory))
    return (field.name, field.type, cast("Any", field.default))


def operation(id: str, summary: str, **rest: Any) -> dict[str, Any]:
    """The `opt` of a route."""
    described = Operation(id=id, summary=summary, **rest)
    return {OPERATION: described, PUBLIC: described.is_public, ANSWERS: described.media_types}


def a_list(
    id: str,
    summary: str,
    *,
    tag: str,
    query: type[msgspec.Struct],
    item: type,
    within: bool = False,
    problems: tuple[str, ...] = (),
) -> dict[str, Any]:
    """The `opt` of a route that answers a page of items; `within`: a resource that may not be there."""
    return operation(
        id,
        summary,
        tag=tag,
        query=query,
        answer={200: page_of(item)},
        problems=(*(DETAIL_PROBLEMS if within else LIST_PROBLEMS), *problems),
        headers=QUERY_HEADERS,
        gives=LIST_GIVES,
    )


def a_resource(
    id: str,
    summary: str,
    *,
    tag: str,
    query: type[msgspec.Struct],
    of: Any,
    problems: tuple[str, ...] = (),
) -> dict[str, Any]:
    """The `opt` of a route that answers one resource, or that the client has its version already."""
    return operation(
        id,
        summary,
        tag=tag,
        query=query,
        answer={200: of, 304: None},
        problems=(*DETAIL_PROBLEMS, *problems),
        headers=DETAIL_HEADERS,
        gives=DETAIL_GIVES,
    )
