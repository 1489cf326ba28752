"""The API document: valid OpenAPI 3.1, complete, true (schemathesis asks the server), and shown offline."""

from __future__ import annotations

import asyncio
import json
import re
from contextlib import suppress
from typing import Any

import httpx
import jsonschema
import pytest
import schemathesis
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis.errors import Unsatisfiable
from hypothesis.strategies import SearchStrategy
from litestar.routes import HTTPRoute
from schemathesis import APIOperation, GenerationMode
from schemathesis.checks import not_a_server_error
from schemathesis.core.result import Ok
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from domain.subscription import CreateSubscription
from interfaces.http.examples import ENTRIES
from interfaces.problems import KINDS
from tests.interfaces.stack import SYSTEM, Stack

CHECKS = [
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
]
NEVER_ENDING = {"stream_events"}


@pytest.fixture
async def document(client: httpx.AsyncClient) -> dict[str, Any]:
    answer = await client.get("/schema/openapi.json")
    found: dict[str, Any] = answer.json()
    return found


def operations(document: dict[str, Any]) -> list[tuple[str, str, dict[str, Any]]]:
    return [
        (method, path, operation)
        for path, methods in document["paths"].items()
        for method, operation in methods.items()
    ]


async def test_every_operation_is_described_and_says_how_it_refuses(document: dict[str, Any]) -> None:
    ids = [operation["operationId"] for _, _, operation in operations(document)]
    assert len(ids) == len(set(ids))
    for _, path, operation in operations(document):
        assert re.fullmatch("[a-z][a-z0-9_]*", operation["operationId"])
        assert operation["summary"]
        assert operation["description"]
        refusals = {status: each for status, each in operation["responses"].items() if status >= "400"}
        assert {"400", "406"} <= refusals.keys(), path
        for refusal in refusals.values():
            content = refusal["content"]["application/problem+json"]
            assert content["schema"] == {"$ref": "#/components/schemas/Problem"}
            assert content["example"]["code"] in KINDS
        for parameter in operation["parameters"]:
            assert parameter["description"], (path, parameter["name"])


async def test_every_schema_of_the_document_is_a_schema(document: dict[str, Any]) -> None:
    assert document["openapi"] == "3.1.0"
    for schema in document["components"]["schemas"].values():
        jsonschema.Draft202012Validator.check_schema(schema)
    references = set(re.findall(r'"#/components/schemas/(\w+)"', str(document).replace("'", '"')))
    assert references <= document["components"]["schemas"].keys()


async def test_every_route_is_in_the_document(stack: Stack, document: dict[str, Any]) -> None:
    routes = [route for route in stack.app.routes if isinstance(route, HTTPRoute)]
    paths = {route.path_format for route in routes} - {"/schema/{name}"}
    assert paths == document["paths"].keys()


async def test_every_example_of_a_request_is_taken(stack: Stack, document: dict[str, Any]) -> None:
    await stack.client.put(
        "/v1/workflows/blog-production",
        json=example_of(document, "create_workflow"),
        headers={"If-None-Match": "*"},
    )
    ids = {"workflow_id": "blog-production", "subscription_id": "s"}
    wish = CreateSubscription(subscription_id="s", url="https://example.com/", after=0)
    await stack.commands.handle(wish, SYSTEM)
    ids |= {kind.removesuffix("s"): name for kind, (name, _) in ENTRIES.items()}
    nightly = example_of(document, "create_schedule")
    ids["schedule_id"] = (await stack.client.post("/v1/schedules", json=nightly)).json()["id"]
    for method, path, operation in operations(document):
        if operation["tags"] == ["Approvals"]:
            continue  # they need an execution that waits: test_http_approvals.py
        if operation["operationId"] in ("retry_execution", "settle_call", "review_task"):
            continue  # they need one that failed, or waits for that
        for media_type, content in operation.get("requestBody", {}).get("content", {}).items():
            for example in content.get("examples", {}).values():
                ids["execution_id"] = (await stack.execution())["id"]
                kind = path.split("/")[2].removesuffix("s")
                if operation["operationId"] in ("archive_execution", "erase_execution"):
                    await stack.client.post(f"/v1/executions/{ids['execution_id']}/cancel")
                url = path.format(**ids, name=ids.get(kind, ""))
                dump = yaml.safe_dump if "yaml" in media_type else json.dumps
                answer = await stack.client.request(
                    method, url, content=dump(example["value"]), headers={"Content-Type": media_type}
                )
                assert answer.status_code < 300, (method, url, answer.text)


def example_of(document: dict[str, Any], operation_id: str) -> object:
    found = next(o for _, _, o in operations(document) if o["operationId"] == operation_id)
    return next(iter(found["requestBody"]["content"]["application/json"]["examples"].values()))["value"]


async def test_the_document_is_the_same_in_yaml(client: httpx.AsyncClient, document: dict[str, Any]) -> None:
    answer = await client.get("/schema/openapi.yaml")
    assert answer.headers["content-type"] == "application/yaml"
    assert yaml.safe_load(answer.text) == document


async def test_a_browser_gets_a_page_that_needs_no_other_host(client: httpx.AsyncClient) -> None:
    page = await client.get("/schema", headers={"Accept": "text/html,application/xhtml+xml,*/*;q=0.8"})
    assert page.headers["content-type"] == "text/html; charset=utf-8"
    assert "default-src 'none'" in page.headers["content-security-policy"]
    for url in re.findall(r'(?:src|href)="([^"]+)"', page.text):
        assert url.startswith(("/schema", "data:")), url
        if url.startswith("/"):
            assert (await client.get(url)).status_code == 200
    assert (await client.get("/schema")).headers["content-type"] == "application/json"


@pytest.mark.timeout(600)
async def test_the_server_does_what_the_document_says(stack: Stack) -> None:
    """Every operation, a few dozen requests each, good and bad, made from the document."""
    schema = schemathesis.openapi.from_dict((await stack.client.get("/schema/openapi.json")).json())
    schema.config.base_url = stack.url
    for result in schema.get_all_operations():
        assert isinstance(result, Ok)
        operation = result.ok()
        if operation.definition.raw["operationId"] in NEVER_ENDING:
            continue
        await asyncio.to_thread(examine, operation)


def examine(operation: APIOperation[Any, Any, Any, Any]) -> None:
    run(operation.as_strategy(GenerationMode.POSITIVE))
    with suppress(Unsatisfiable):  # where there is nothing that could be wrong
        run(operation.as_strategy(GenerationMode.NEGATIVE))


def run(cases: SearchStrategy[schemathesis.Case[Any]]) -> None:
    @given(case=cases)
    @settings(
        max_examples=15, deadline=None, database=None, derandomize=True, suppress_health_check=[*HealthCheck]
    )
    def examined(case: schemathesis.Case[Any]) -> None:
        case.call_and_validate(checks=CHECKS, timeout=30)

    examined()
