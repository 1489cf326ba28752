"""Who may ask: the token where one is set, this machine's own names where none is."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest
from litestar import Litestar
from litestar.routes import HTTPRoute

from infrastructure.nats.memory import MemoryFeed
from interfaces.http.examples import BLOG
from tests.interfaces.stack import Stack, running

TOKEN = "a-token-of-24-characters"


@pytest.fixture(scope="module")
async def guarded(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Stack]:
    folder: Path = tmp_path_factory.mktemp("guarded")
    async with running(folder, MemoryFeed(), api_token=TOKEN) as stack:
        yield stack


def every_route(app: Litestar) -> list[tuple[str, str]]:
    """(method, path) of each, with something in place of its parameters."""
    return [
        (method, route.path_format.replace("{version}", "1").replace("{", "").replace("}", ""))
        for route in app.routes
        if isinstance(route, HTTPRoute)
        for handler in route.route_handlers
        for method in handler.http_methods
    ]


async def test_every_route_but_the_health_checks_refuses_without_the_token(guarded: Stack) -> None:
    wrong = [{}, {"Authorization": "Bearer wrong"}, {"Authorization": f"Basic {TOKEN}"}]
    wrong += [{"Authorization": TOKEN}, {"Authorization": f"Bearer {TOKEN}x"}, {"Authorization": "Bearer"}]
    routes = every_route(guarded.app)
    assert len(routes) > 60
    for method, path in routes:
        for headers in wrong:
            answer = await guarded.client.request(method, path, headers=headers)
            if path in ("/livez", "/readyz") and method == "GET":
                assert answer.status_code == 200, path
            else:
                assert answer.status_code == 401, f"{method} {path}"
                assert answer.headers["www-authenticate"].startswith("Bearer")
                assert answer.json()["code"] == "unauthenticated"
                assert TOKEN not in answer.text


async def test_the_token_opens_the_door_and_is_recorded_as_its_actor(guarded: Stack) -> None:
    headers = {"Authorization": f"bearer {TOKEN}", "Prefer": "wait=10"}
    body = {"definition": BLOG, "inputs": {"industry": "solar"}}
    started = await guarded.client.post("/v1/executions", json=body, headers=headers)
    assert started.status_code == 201
    history = await guarded.client.get(f"{started.headers['location']}/history", headers=headers)
    assert {event["actor"] for event in history.json()["items"]} == {"user:api-token"}


async def test_with_a_token_the_name_of_the_host_does_not_matter(guarded: Stack) -> None:
    headers = {"Authorization": f"Bearer {TOKEN}", "Host": "kasal.example.com", "Origin": "https://x.example"}
    assert (await guarded.client.get("/v1/workflows", headers=headers)).status_code == 200


async def test_the_document_says_whether_a_token_is_needed(guarded: Stack, stack: Stack) -> None:
    headers = {"Authorization": f"Bearer {TOKEN}"}
    with_token = (await guarded.client.get("/schema/openapi.json", headers=headers)).json()
    without = (await stack.client.get("/schema/openapi.json")).json()
    assert (with_token["security"], without["security"]) == ([{"token": []}], [{}, {"token": []}])
    assert "401" in with_token["paths"]["/v1/executions"]["get"]["responses"]
    assert with_token["paths"]["/livez"]["get"]["security"] == []


@pytest.mark.parametrize("host", ["localhost", "LOCALHOST:1", "127.0.0.1", "127.0.0.1:8700", "[::1]:8700"])
async def test_the_names_of_loopback_are_served(client: httpx.AsyncClient, host: str) -> None:
    assert (await client.get("/v1/workflows", headers={"Host": host})).status_code == 200


@pytest.mark.parametrize(
    "host", ["evil.example", "127.0.0.1.evil.example:80", "localhost.evil.example", "a@b"]
)
async def test_another_name_of_this_machine_is_misdirected(client: httpx.AsyncClient, host: str) -> None:
    answer = await client.get("/v1/workflows", headers={"Host": host})
    assert (answer.status_code, answer.json()["code"]) == (421, "misdirected")


@pytest.mark.parametrize("origin", ["http://evil.example", "null", "https://localhost.evil.example", ""])
async def test_another_site_is_forbidden(client: httpx.AsyncClient, origin: str) -> None:
    answer = await client.get("/v1/workflows", headers={"Origin": origin})
    assert (answer.status_code, answer.json()["code"]) == (403, "forbidden")


async def test_the_page_of_this_api_itself_may_ask(stack: Stack) -> None:
    answer = await stack.client.post("/v1/workflows", json=BLOG, headers={"Origin": stack.url})
    assert answer.status_code == 201
