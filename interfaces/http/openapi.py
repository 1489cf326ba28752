"""The OpenAPI 3.1 document, made from the operations that the routes carry.

Called by `documentation`. Litestar's own generator is left aside: bodies, queries and problems are read and
written by us, and the document is made from the very types that do it. Its one rule: every answer that a
route can give is in it.
"""

from __future__ import annotations

import inspect
from collections.abc import Iterable, Iterator
from typing import Any

import msgspec
from litestar import Litestar
from litestar.handlers import HTTPRouteHandler
from litestar.routes import HTTPRoute

from interfaces.http import header_docs
from interfaces.http.operation import OPERATION, Operation
from interfaces.problems import KINDS, MEDIA_TYPE, Problem
from interfaces.shapes import schema_components

Json = dict[str, Any]

EVERYWHERE = ("malformed", "not_acceptable")
WITH_TOKEN, WITHOUT_TOKEN = ("unauthenticated",), ("forbidden", "misdirected")
PROBLEM_REF = {"$ref": "#/components/schemas/Problem"}
DESCRIPTION = """Event-sourced workflows of AI agents. Every command answers with a `position`; a query with
`?after=<position>` has that command's effect. Errors are problems (RFC 9457) with a stable `code`."""


def document(app: Litestar, *, needs_token: bool) -> Json:
    """The whole document, ready to be written as JSON."""
    described = [*operations(app)]
    schemas = Schemas([operation for _, _, operation in described])
    paths: dict[str, Json] = {}
    for route, handler, operation in described:
        method = next(iter(handler.http_methods)).lower()
        paths.setdefault(route.path_format, {})[method] = Described(
            route, handler, operation, schemas, needs_token=needs_token
        ).json()
    return {
        "openapi": "3.1.0",
        "jsonSchemaDialect": "https://json-schema.org/draft/2020-12/schema",
        "info": {"title": "Kasal", "version": "1", "description": DESCRIPTION},
        "servers": [{"url": "/"}],
        "tags": [{"name": name} for name in dict.fromkeys(operation.tag for _, _, operation in described)],
        "security": [{"token": []}] if needs_token else [{}, {"token": []}],
        "paths": paths,
        "webhooks": {"event": {"post": WEBHOOK}},
        "components": {
            "schemas": schemas.components(),
            "securitySchemes": {
                "token": {"type": "http", "scheme": "bearer", "description": "The token of the installation."}
            },
        },
    }


WEBHOOK: Json = {
    "operationId": "receive_event",
    "tags": ["Subscriptions"],
    "summary": "An event, sent to the URL of a subscription",
    "description": "A CloudEvent, signed as Standard Webhooks 1.0 has it; its types: /schema/asyncapi.json.",
    "parameters": [
        {"name": name, "in": "header", "required": True, "schema": {"type": "string"}}
        for name in ("webhook-id", "webhook-timestamp", "webhook-signature")
    ],
    "requestBody": {
        "required": True,
        "content": {"application/cloudevents+json": {"schema": {"type": "object"}}},
    },
    "responses": {
        "2XX": {"description": "Taken."},
        "410": {"description": "Gone: the subscription is disabled."},
        "default": {"description": "Not taken: it is sent again; Retry-After is obeyed."},
    },
    "security": [],
}
"""What we send, in the words of OpenAPI."""


def operations(app: Litestar) -> Iterator[tuple[HTTPRoute, HTTPRouteHandler, Operation]]:
    for route in app.routes:
        if isinstance(route, HTTPRoute):
            for handler in route.route_handlers:
                if OPERATION in handler.opt:
                    yield route, handler, handler.opt[OPERATION]


class Schemas:
    """JSON Schemas of all types, the shared ones as components."""

    def __init__(self, described: Iterable[Operation]) -> None:
        self._queries: dict[Any, None] = {}
        self._others: dict[Any, None] = {Problem: None}
        for operation in described:
            if operation.query is not None:
                self._queries[operation.query] = None
            types = [*operation.answer.values(), operation.body]
            self._others.update(dict.fromkeys(of for of in types if of is not None))
        found, components = schema_components(
            [*self._others, *self._queries], ref_template="#/components/schemas/{name}"
        )
        self._of = dict(zip([*self._others, *self._queries], found, strict=True))
        self._components = components

    def components(self) -> Json:
        hidden = {self._of[query]["$ref"].rpartition("/")[2] for query in self._queries}
        return {name: schema for name, schema in sorted(self._components.items()) if name not in hidden}

    def of(self, kind: Any) -> Json:
        schema: Json = self._of[kind]
        return schema

    def parameters(self, query: type[msgspec.Struct]) -> Json:
        name = self._of[query]["$ref"].rpartition("/")[2]
        properties: Json = self._components[name]["properties"]
        return properties


class Described:
    """One operation, in the words of OpenAPI."""

    def __init__(
        self,
        route: HTTPRoute,
        handler: HTTPRouteHandler,
        operation: Operation,
        schemas: Schemas,
        *,
        needs_token: bool,
    ) -> None:
        self._route = route
        self._handler = handler
        self._operation = operation
        self._schemas = schemas
        self._needs_token = needs_token

    def json(self) -> Json:
        operation = self._operation
        described: Json = {
            "operationId": operation.id,
            "tags": [operation.tag],
            "summary": operation.summary,
            "description": inspect.cleandoc(self._handler.fn.__doc__ or operation.summary),
            "parameters": [*self._path(), *self._query(), *self._headers()],
            "responses": {str(status): answer for status, answer in sorted(self._responses().items())},
        }
        if operation.body is not None:
            described["requestBody"] = self._body()
        if operation.is_public:
            described["security"] = []
        return described

    def _path(self) -> Iterator[Json]:
        for name, parameter in self._route.path_parameters.items():
            kind = "integer" if parameter.type is int else "string"
            described = f"The {name.replace('_', ' ')}."
            schema: Json = {"type": kind} | ({"minimum": 1} if kind == "integer" else {"minLength": 1})
            yield {"name": name, "in": "path", "required": True, "description": described, "schema": schema}

    def _query(self) -> Iterator[Json]:
        if self._operation.query is None:
            return
        for name, schema in self._schemas.parameters(self._operation.query).items():
            schema = without_null(schema)
            parameter: Json = {"name": name, "in": "query", "required": False}
            if description := schema.pop("description", None):
                parameter["description"] = description
            if schema.get("type") == "array":
                parameter |= {"style": "form", "explode": False}
            yield parameter | {"schema": schema}

    def _headers(self) -> Iterator[Json]:
        for name in self._operation.headers:
            description, schema = header_docs.REQUEST[name]
            yield {
                "name": name,
                "in": "header",
                "required": False,
                "description": description,
                "schema": schema,
            }

    def _body(self) -> Json:
        operation = self._operation
        content: Json = {"schema": self._schemas.of(operation.body)}
        if operation.examples:
            content["examples"] = {name: {"value": value} for name, value in operation.examples.items()}
        return {
            "required": not operation.is_body_optional,
            "content": dict.fromkeys(operation.body_types, content),
        }

    def _responses(self) -> dict[int, Json]:
        operation = self._operation
        responses: dict[int, Json] = {}
        for status, kind in operation.answer.items():
            answer: Json = {"description": DESCRIPTIONS.get(status, operation.summary)}
            if kind is not None:
                schema = self._schemas.of(kind)
                answer["content"] = {
                    media_type: {"schema": TEXT if media_type == "text/html" else schema}
                    for media_type in operation.media_types
                }
            if operation.gives:
                answer["headers"] = {name: header_of(name) for name in operation.gives}
            responses[status] = answer
        return responses | problem_responses(self._codes())

    def _codes(self) -> list[str]:
        who = () if self._operation.is_public else WITH_TOKEN if self._needs_token else WITHOUT_TOKEN
        return [*dict.fromkeys((*self._operation.problems, *EVERYWHERE, *who))]


TEXT = {"type": "string"}
DESCRIPTIONS = {
    201: "Created.",
    202: "Done; the read models follow.",
    204: "Nothing to say.",
    304: "The client has this version.",
}


def problem_responses(codes: Iterable[str]) -> dict[int, Json]:
    """One response for each status that the codes have between them."""
    by_status: dict[int, list[str]] = {}
    for code in codes:
        by_status.setdefault(KINDS[code].status, []).append(code)
    return {status: problem_response(status, found) for status, found in by_status.items()}


def problem_response(status: int, codes: list[str]) -> Json:
    lines = [f"`{code}`: {KINDS[code].title}." for code in codes]
    kind = KINDS[codes[0]]
    example = {
        "type": kind.type,
        "title": kind.title,
        "status": status,
        "detail": kind.title,
        "instance": "/v1/executions",
        "code": kind.code,
        "trace_id": "4bf92f3577b34da6a3ce929d0e0e4736",
    }
    response: Json = {
        "description": " ".join(lines),
        "content": {MEDIA_TYPE: {"schema": PROBLEM_REF, "example": example}},
    }
    if status == 503:
        response["headers"] = {"Retry-After": header_of("Retry-After")}
    return response


def header_of(name: str) -> Json:
    description, schema = header_docs.RESPONSE[name]
    return {"description": description, "schema": schema}


def without_null(schema: Json) -> Json:
    """A query parameter that is null is one that is left out."""
    options = [option for option in schema.get("anyOf", ()) if option.get("type") != "null"]
    found = dict(options[0]) if len(options) == 1 else dict(schema)
    if "default" in found and found["default"] is None:
        del found["default"]
    return found
