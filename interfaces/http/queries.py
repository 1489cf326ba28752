"""Query parameters, and the position that a query has to have reached.

Called by every route that reads. Its one rule: a parameter that a route does not know is refused by its name.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, TypeVar
from urllib.parse import parse_qsl

import msgspec

from domain.errors import Fault
from interfaces.http.headers import header_fault
from interfaces.http.request import ApiRequest
from interfaces.problems import malformed
from projections.positions import position_of, wait_for

MAX_WAIT_S = 5.0
MAX_PARAMETERS = 50

Position = Annotated[
    int,
    msgspec.Meta(
        ge=0, le=2**63 - 1, description="wait (at most 5 seconds) until this position is in the answer"
    ),
]
Limit = Annotated[int, msgspec.Meta(ge=1, le=200, description="how many items at most")]


class Query(msgspec.Struct, frozen=True, kw_only=True):
    """What every query takes. after: the position that a command answered with."""

    after: Position | None = None


Q = TypeVar("Q", bound=msgspec.Struct)


def read_query(request: ApiRequest, of: type[Q]) -> Q:
    """The query parameters as a struct. Raises `Refused` (400) with every fault."""
    raw: bytes = request.scope["query_string"]
    if not raw:
        return of()
    types = {field.encode_name: field.type for field in msgspec.structs.fields(of)}
    values: dict[str, object] = {}
    faults: list[Fault] = []
    for name, text in pairs(raw):
        at = f"/query/{name[:80]}"
        if name not in types:
            faults.append(Fault(at, f"unknown parameter; expected one of: {', '.join(types) or 'none'}"))
        elif name in values:
            faults.append(Fault(at, "came twice; expected it once"))
        elif "\x00" in text:
            faults.append(Fault(at, "holds U+0000; expected text without it"))
        else:
            values[name] = converted(text, types[name], at, faults)
    if faults:
        raise malformed(f"the query is wrong: {faults[0].pointer} {faults[0].message}", *faults)
    return msgspec.convert(values, type=of, from_attributes=False, strict=False)


def pairs(raw: bytes) -> list[tuple[str, str]]:
    try:
        return parse_qsl(
            raw.decode("ascii"), keep_blank_values=True, errors="strict", max_num_fields=MAX_PARAMETERS
        )
    except UnicodeDecodeError as error:
        raise malformed("the query is not UTF-8, percent-encoded") from error
    except ValueError as error:
        raise malformed(f"the query has more than {MAX_PARAMETERS} parameters") from error


def converted(text: str, to: object, at: str, faults: list[Fault]) -> object:
    try:
        return msgspec.convert(text, type=to, strict=False)
    except msgspec.ValidationError as error:
        faults.append(Fault(at, str(error)))
    return None


async def reached(request: ApiRequest, names: Sequence[str], after: int | None) -> dict[str, str]:
    """Wait for the position that the client asks for, then say which position the answer is of.

    Raises `NotCaughtUp` (503) after `MAX_WAIT_S`.
    """
    after = after if after is not None else header_position(request.header("kasal-after"))
    if after:
        await wait_for(request.parts.read, names, after, MAX_WAIT_S)
    return {"Kasal-Position": str(await position_of(request.parts.read, names))}


def header_position(value: str | None) -> int | None:
    if value is None:
        return None
    if not value.isascii() or not value.isdecimal() or len(value) > 18:
        raise header_fault("Kasal-After", "expected a position: a whole number")
    return int(value)
