"""Query parameters, and the position that a query has to have reached.

Called by every route that reads. Its one rule: a parameter that a route does not know is refused by its name.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from typing import Annotated, Any, TypeVar, get_origin
from urllib.parse import parse_qsl, urlencode

import msgspec

from domain.errors import Fault, Invalid, LogUnavailable
from interfaces.http.answers import Answer, etag
from interfaces.http.headers import header_fault, is_unchanged
from interfaces.http.request import ApiRequest, Incoming
from interfaces.problems import Refused, malformed
from projections.paging import DEFAULT_LIMIT, MAX_LIMIT, Document, Page
from projections.positions import position_of, wait_for

MAX_WAIT_S = 5.0
MAX_PARAMETERS = 50

Position = Annotated[int, msgspec.Meta(ge=0, le=2**63 - 1)]
After = Annotated[
    int,
    msgspec.Meta(
        ge=0,
        le=2**63 - 1,
        description="Wait, at most 5 seconds, until the answer has this position: one that a command gave.",
    ),
]
Limit = Annotated[int, msgspec.Meta(ge=1, le=MAX_LIMIT, description="Items at most.")]
Cursor = Annotated[
    str, msgspec.Meta(min_length=1, max_length=2_000, description="`next_cursor` of the page before.")
]
NamePart = Annotated[
    str, msgspec.Meta(max_length=200, description="A part of the name, in upper or lower case.")
]
WorkflowId = Annotated[str, msgspec.Meta(max_length=128, description="The workflow's id.")]
Moment = Annotated[datetime, msgspec.Meta(tz=True, description="ISO 8601 with a zone; itself left out.")]


class Query(msgspec.Struct, frozen=True, kw_only=True):
    """What every query takes."""

    after: After | None = None


class ListQuery(Query, frozen=True, kw_only=True):
    """What every list takes."""

    limit: Limit = DEFAULT_LIMIT
    cursor: Cursor | None = None


Q = TypeVar("Q", bound=msgspec.Struct)


def read_query(request: Incoming, of: type[Q]) -> Q:
    """The query parameters as a struct. Raises `Refused` (400) with every fault."""
    raw: bytes = request.scope["query_string"]
    if not raw:
        return of()
    fields = msgspec.structs.fields(of)
    types = {field.encode_name: field.type for field in fields}
    attributes = {field.encode_name: field.name for field in fields}
    values: dict[str, object] = {}
    faults: list[Fault] = []
    for name, text in pairs(raw):
        at = f"/query/{name[:80]}"
        is_list = name in types and is_list_type(types[name])
        if name not in types:
            faults.append(Fault(at, f"unknown parameter; expected one of: {', '.join(types) or 'none'}"))
        elif attributes[name] in values:
            faults.append(Fault(at, "came twice; expected it once"))
        elif "\x00" in text:
            faults.append(Fault(at, "holds U+0000; expected text without it"))
        else:
            value = text.split(",") if is_list else text
            values[attributes[name]] = converted(value, types[name], at, faults)
    if faults:
        raise malformed(f"the query is wrong: {faults[0].pointer} {faults[0].message}", *faults)
    return of(**values)


def is_list_type(of: object) -> bool:
    inner = getattr(of, "__origin__", None) if hasattr(of, "__metadata__") else of
    return get_origin(inner) is tuple


def pairs(raw: bytes) -> list[tuple[str, str]]:
    try:
        return parse_qsl(
            raw.decode("ascii"), keep_blank_values=True, errors="strict", max_num_fields=MAX_PARAMETERS
        )
    except UnicodeDecodeError as error:
        raise malformed("the query is not UTF-8, percent-encoded") from error
    except ValueError as error:
        raise malformed(f"the query has more than {MAX_PARAMETERS} parameters") from error


def converted(value: object, to: object, at: str, faults: list[Fault]) -> object:
    try:
        found = msgspec.convert(value, type=to, strict=False)
        return found.astimezone(UTC) if isinstance(found, datetime) else found
    except (msgspec.ValidationError, OverflowError) as error:
        faults.append(Fault(at, str(error)))
    return None


async def reached(request: ApiRequest, names: Sequence[str], after: int | None) -> dict[str, str]:
    """Wait for the position that the client asks for, then say which position the answer is of.

    Raises `NotCaughtUp` (503) after `MAX_WAIT_S`, `Refused` (410) for a position beyond the log.
    """
    after = after if after is not None else header_position(request.header("kasal-after"))
    at = await position_of(request.parts.read, names)
    if after is not None and after > at:
        with suppress(LogUnavailable):
            await check_position(request, after)
        await wait_for(request.parts.read, names, after, MAX_WAIT_S)
    return {"Kasal-Position": str(max(after or 0, at))}


async def check_position(request: Incoming, position: int) -> int:
    """The log's last position. Raises `Refused` (410) when it lies before the one that the client names."""
    head = await request.parts.read_log.head()
    if position > head:
        detail = f"the log ends at position {head}; {position} is not of this log, begin again without it"
        raise Refused("position_gone", detail)
    return head


def header_position(value: str | None) -> int | None:
    if value is None:
        return None
    if not value.isascii() or not value.isdecimal() or len(value) > 18:
        raise header_fault("Kasal-After", "expected a position: a whole number")
    return int(value)


async def page_answer(
    request: ApiRequest,
    names: Sequence[str],
    query: ListQuery,
    fetch: Callable[..., Awaitable[Page]],
    *key: Any,
) -> Answer:
    """A page of a list, its JSON passed on as the projection has it.

    names  the projections it comes from
    fetch  of a read model: takes the key, and every filter of `query` under its own name
    """
    fields = await reached(request, names, query.after)
    page = await asked(fetch(request.parts.read, request.tenant, *key, **filters_of(query)))
    if page.next_cursor is not None:
        fields["Link"] = f'<{next_url(request, page.next_cursor)}>; rel="next"'
    return Answer(200, page.body, fields)


async def document_answer(
    request: ApiRequest,
    names: Sequence[str],
    query: Query,
    fetch: Callable[..., Awaitable[Document]],
    *key: Any,
) -> Answer:
    """One resource; 304 when the client has this version. names, fetch: as in `page_answer`."""
    fields = await reached(request, names, query.after)
    document = await asked(fetch(request.parts.read, request.tenant, *key, **filters_of(query)))
    fields["ETag"] = etag(document.version)
    if not document.varies and is_unchanged(request.header("if-none-match"), fields["ETag"]):
        return Answer(304, b"", fields)
    return Answer(200, document.json, fields)


def filters_of(query: Query) -> dict[str, Any]:
    """What was asked for, but for `after`, which is waited for before."""
    return {field: getattr(query, field) for field in query.__struct_fields__ if field != "after"}


A = TypeVar("A")


async def asked(answer: Awaitable[A]) -> A:
    """The answer; what a query finds wrong with its parameters is a fault of the request line."""
    try:
        return await answer
    except Invalid as error:
        raise faulty_query(error) from error


def faulty_query(error: Invalid) -> Refused:
    return malformed(str(error), *(Fault(f"/query/{each.pointer}", each.message) for each in error.faults))


def faulty(name: str, message: str) -> Refused:
    """A parameter that is wrong: what was expected of it."""
    return malformed(f"the query is wrong: {name} {message}", Fault(f"/query/{name}", message))


def next_url(request: ApiRequest, cursor: str) -> str:
    """The same list, one page on."""
    kept = [pair for pair in pairs(request.scope["query_string"]) if pair[0] not in ("cursor", "after")]
    return f"{request.scope['path']}?{urlencode([*kept, ('cursor', cursor)])}"
