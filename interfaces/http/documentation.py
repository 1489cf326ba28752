"""The API documents (OpenAPI, AsyncAPI) as JSON and YAML, and the page that shows the first.

Its one rule: everything comes from this installation, no address of another host; the page works without a
network.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache, partial
from pathlib import Path

import msgspec
import yaml
from litestar import get
from litestar.params import FromPath

from domain.definition import Json
from domain.errors import NotFound
from interfaces.http import asyncapi
from interfaces.http.answers import Answer
from interfaces.http.openapi import document
from interfaces.http.operation import operation
from interfaces.http.queries import read_query
from interfaces.http.request import ApiRequest

TAG = "Document"
ASSETS = Path(__file__).parent / "assets"
TYPES = {
    "swagger-ui-bundle.js": b"text/javascript; charset=utf-8",
    "start.js": b"text/javascript; charset=utf-8",
    "swagger-ui.css": b"text/css; charset=utf-8",
    "index.html": b"text/html; charset=utf-8",
}
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; "
    "connect-src 'self'; font-src 'self' data:; base-uri 'none'; frame-ancestors 'none'"
)


class NoQuery(msgspec.Struct, frozen=True):
    """No parameters."""


@get(
    "/schema",
    opt=operation(
        "show_document",
        "This document: the page that shows it, or itself",
        tag=TAG,
        query=NoQuery,
        answer={200: dict[str, Json]},
        media_types=("text/html", "application/json"),
    ),
)
async def page(request: ApiRequest) -> Answer:
    """A browser gets the page, everything else the document."""
    read_query(request, NoQuery)
    if "text/html" in (request.header("accept") or ""):
        return asset("index.html")
    return Answer(200, document_json(request))


@get(
    "/schema/openapi.json",
    opt=operation(
        "get_document", "This document as JSON", tag=TAG, query=NoQuery, answer={200: dict[str, Json]}
    ),
)
async def as_json(request: ApiRequest) -> Answer:
    """OpenAPI 3.1."""
    read_query(request, NoQuery)
    return Answer(200, document_json(request))


@get(
    "/schema/openapi.yaml",
    opt=operation(
        "get_document_yaml",
        "This document as YAML",
        tag=TAG,
        query=NoQuery,
        answer={200: dict[str, Json]},
        media_types=("application/yaml",),
    ),
)
async def as_yaml(request: ApiRequest) -> Answer:
    """OpenAPI 3.1."""
    read_query(request, NoQuery)
    return Answer(200, document_yaml(request), media_type=b"application/yaml")


@get(
    "/schema/asyncapi.json",
    opt=operation(
        "get_asyncapi", "What can be followed, as JSON", tag=TAG, query=NoQuery, answer={200: dict[str, Json]}
    ),
)
async def asyncapi_json(request: ApiRequest) -> Answer:
    """AsyncAPI 3.0: every event with its schema, over SSE, WebSocket and NATS."""
    read_query(request, NoQuery)
    return Answer(200, made(request, "asyncapi", asyncapi.document))


@get(
    "/schema/asyncapi.yaml",
    opt=operation(
        "get_asyncapi_yaml",
        "What can be followed, as YAML",
        tag=TAG,
        query=NoQuery,
        answer={200: dict[str, Json]},
        media_types=("application/yaml",),
    ),
)
async def asyncapi_yaml(request: ApiRequest) -> Answer:
    """AsyncAPI 3.0: every event with its schema, over SSE, WebSocket and NATS."""
    read_query(request, NoQuery)
    return Answer(200, as_yaml_text(request, "asyncapi", asyncapi.document), media_type=b"application/yaml")


@get("/schema/{name:str}", opt={"answers": ("text/javascript", "text/css")})
async def part(request: ApiRequest, name: FromPath[str]) -> Answer:
    """A file of the page."""
    if name not in TYPES:
        raise NotFound(f"there is no file {name[:80]!r}")
    return asset(name)


Make = Callable[..., dict[str, object]]
"""Makes a document; takes `needs_token`."""


def document_json(request: ApiRequest) -> bytes:
    return made(request, "openapi", partial(document, request.app))


def document_yaml(request: ApiRequest) -> bytes:
    return as_yaml_text(request, "openapi", partial(document, request.app))


def made(request: ApiRequest, name: str, make: Make) -> bytes:
    """A document as JSON; made when it is first asked for."""
    state = request.app.state
    if name not in state:
        state[name] = msgspec.json.encode(make(needs_token=bool(request.parts.settings.api_token)))
    found: bytes = state[name]
    return found


def as_yaml_text(request: ApiRequest, name: str, make: Make) -> bytes:
    """The same as YAML; made when it is first asked for."""
    state, key = request.app.state, f"{name}.yaml"
    if key not in state:
        dumper = getattr(yaml, "CSafeDumper", yaml.SafeDumper)
        value = msgspec.json.decode(made(request, name, make))
        state[key] = yaml.dump(value, Dumper=dumper, sort_keys=False, allow_unicode=True).encode()
    found: bytes = state[key]
    return found


@cache
def asset(name: str) -> Answer:
    body = (ASSETS / name).read_bytes()
    return Answer(200, body, {"Content-Security-Policy": POLICY}, media_type=TYPES[name])
