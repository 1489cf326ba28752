"""The catalogue: models, tools, schemas and templates; four times the same four routes."""

from __future__ import annotations

from functools import cache
from typing import Any

import msgspec
from litestar import delete, get, put
from litestar.handlers import HTTPRouteHandler
from litestar.params import FromPath

from application.documents import schema_faults
from domain.catalog import ENTRY_TYPES, KINDS, Entry, Kind, RemoveEntry, Schema, SetEntry, Tool
from domain.errors import Fault, Invalid
from interfaces.http.answers import Accepted, Answer
from interfaces.http.bodies import read_nothing, read_value, shape_faults
from interfaces.http.commanding import answer, canonical, command
from interfaces.http.examples import ENTRIES
from interfaces.http.headers import header_fault
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
from interfaces.http.queries import ListQuery, Query, document_answer, page_answer, read_query
from interfaces.http.request import ApiRequest
from projections.catalog import get_entry, list_entries

PROJECTIONS = ("catalog",)
TAG = "Catalogue"
SINGULAR: dict[Kind, str] = {"models": "model", "tools": "tool", "schemas": "schema", "templates": "template"}


def routes_of(kind: Kind) -> list[HTTPRouteHandler]:
    """List, detail, set and remove. The name of a model has a slash in it."""
    return [list_route(kind), detail_route(kind), set_route(kind), remove_route(kind)]


def path_of(kind: Kind) -> str:
    return f"/v1/{kind}/{{name:path}}"


def given_name(rest_of_path: str) -> str:
    """`openai/gpt-4o-mini` of `/openai/gpt-4o-mini`."""
    return rest_of_path.removeprefix("/")


def list_route(kind: Kind) -> HTTPRouteHandler:
    @get(
        f"/v1/{kind}",
        opt=a_list(
            f"list_{kind}",
            f"The {kind} that documents can name",
            tag=TAG,
            query=ListQuery,
            item=entry_answer(kind),
        ),
    )
    async def list_all(request: ApiRequest) -> Answer:
        """By name."""
        return await page_answer(request, PROJECTIONS, read_query(request, ListQuery), list_entries, kind)

    return list_all


def detail_route(kind: Kind) -> HTTPRouteHandler:
    @get(
        path_of(kind),
        opt=a_resource(
            f"get_{SINGULAR[kind]}",
            f"One of the {kind}",
            tag=TAG,
            query=Query,
            of=entry_answer(kind),
        ),
    )
    async def detail(request: ApiRequest, name: FromPath[str]) -> Answer:
        """As it was set last."""
        query = read_query(request, Query)
        return await document_answer(request, PROJECTIONS, query, get_entry, kind, given_name(name))

    return detail


def set_route(kind: Kind) -> HTTPRouteHandler:
    @put(
        path_of(kind),
        opt=operation(
            f"set_{SINGULAR[kind]}",
            f"Set one of the {kind}",
            tag=TAG,
            body=settable(kind),
            examples={SINGULAR[kind]: ENTRIES[kind][1]},
            answer={202: Accepted},
            problems=(*COMMAND_PROBLEMS, *BODY_PROBLEMS, "key_reused"),
            headers=COMMAND_HEADERS,
            gives=COMMAND_GIVES,
        ),
    )
    async def set_entry(request: ApiRequest, name: FromPath[str]) -> Answer:
        """A seed never overwrites it. Workflows saved before keep what they copied."""
        refuse_condition(request)
        entry = entry_of(kind, given_name(name), await read_value(request))
        outcome = await command(request, SetEntry(kind=kind, entry=entry), canonical(entry))
        return await answer(request, outcome, projections=PROJECTIONS, entity_id=entry.name)

    return set_entry


def remove_route(kind: Kind) -> HTTPRouteHandler:
    @delete(
        path_of(kind),
        status_code=202,
        opt=operation(
            f"remove_{SINGULAR[kind]}",
            f"Remove one of the {kind}",
            tag=TAG,
            answer={202: Accepted},
            problems=(*COMMAND_PROBLEMS, *BODY_PROBLEMS, "not_found", "key_reused"),
            headers=COMMAND_HEADERS,
            gives=COMMAND_GIVES,
        ),
    )
    async def remove_entry(request: ApiRequest, name: FromPath[str]) -> Answer:
        """What an administrator removes, no seed brings back."""
        refuse_condition(request)
        removed = given_name(name)
        await read_nothing(request)
        outcome = await command(request, RemoveEntry(kind=kind, name=removed))
        return await answer(request, outcome, projections=PROJECTIONS, entity_id=removed)

    return remove_entry


def refuse_condition(request: ApiRequest) -> None:
    if request.header("if-match") is not None:
        raise header_fault("If-Match", "is not available for the catalogue; expected a request without it")


def entry_of(kind: Kind, name: str, value: object) -> Entry:
    """The entry that a body describes. Raises `Invalid` with every fault."""
    given: dict[str, Any] = value if isinstance(value, dict) else {}
    faults = [Fault("", "expected an object")] if given is not value else []
    for key, expected in (("name", name), ("kind", kind)):
        if given.get(key, expected) != expected:
            faults.append(Fault(f"/{key}", f"expected {expected!r}, as in the path, or nothing"))
    whole = {**given, "name": name, "kind": kind}
    try:
        entry: Entry = msgspec.convert(whole, type=ENTRY_TYPES[kind])
    except msgspec.ValidationError:
        raise shape_faults(whole, ENTRY_TYPES[kind], *faults) from None
    if isinstance(entry, Schema):
        faults.extend(schema_faults(entry.schema, "schema"))
    if isinstance(entry, Tool):
        faults.extend(schema_faults(entry.parameters, "parameters"))
    if faults:
        raise Invalid(f"the entry is wrong: {faults[0].pointer} {faults[0].message}", tuple(faults))
    return entry


@cache
def settable(kind: Kind) -> type[msgspec.Struct]:
    """The type of a body: the entry without what the path says."""
    fields = [field for field in msgspec.structs.fields(ENTRY_TYPES[kind]) if field.name != "name"]
    return msgspec.defstruct(
        f"{SINGULAR[kind].title()}Settings",
        [*map(as_defined, fields)],
        forbid_unknown_fields=True,
        kw_only=True,
        namespace={"__doc__": ENTRY_TYPES[kind].__doc__},
    )


@cache
def entry_answer(kind: Kind) -> type[msgspec.Struct]:
    """The type of an answer: the entry, and what became of it."""
    fields = [*map(as_defined, msgspec.structs.fields(ENTRY_TYPES[kind]))]
    more = [("kind", str), ("is_planted", bool), ("updated_at", str), ("version", int)]
    return msgspec.defstruct(
        f"{SINGULAR[kind].title()}Entry",
        [*fields, *more],
        kw_only=True,
        namespace={"__doc__": ENTRY_TYPES[kind].__doc__},
    )


ROUTES = [route for kind in KINDS for route in routes_of(kind)]
