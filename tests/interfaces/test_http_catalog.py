"""The catalogue over HTTP: what an administrator sets is served, and documents can name it."""

from __future__ import annotations

import pytest

from interfaces.http.examples import BLOG, ENTRIES
from tests.interfaces.stack import Stack

WAIT = {"Prefer": "wait=10"}


@pytest.mark.parametrize("kind", ENTRIES)
async def test_an_entry_is_set_served_and_removed(stack: Stack, kind: str) -> None:
    name, body = ENTRIES[kind]
    path = f"/v1/{kind}/{name}"
    answer = await stack.client.put(path, json=body, headers=WAIT)
    assert (answer.status_code, answer.json()["id"]) == (202, name)
    found = await stack.client.get(path)
    assert found.json().items() >= {**body, "name": name, "kind": kind, "is_planted": False}.items()
    listed = (await stack.client.get(f"/v1/{kind}")).json()["items"]
    assert found.json() in listed
    same = await stack.client.get(path, headers={"If-None-Match": found.headers["etag"]})
    assert same.status_code == 304
    refused = await stack.client.request("DELETE", path, json={"force": True})
    assert (refused.status_code, "force" in refused.text) == (422, True)
    removed = await stack.client.delete(path, headers=WAIT)
    assert (removed.status_code, removed.json()["id"]) == (202, name)
    assert (await stack.client.get(path)).status_code == 404
    assert (await stack.client.delete(path)).status_code == 404


async def test_a_document_can_name_what_was_set(stack: Stack) -> None:
    await stack.client.put("/v1/models/acme/large-1", json={})
    agents = {"a": {"role": "R", "goal": "g", "backstory": "b", "model": "acme/large-1"}}
    tasks = {"t": {"description": "d", "expected_output": "e", "agent": "a"}}
    document = {"name": "Named", "agents": agents, "tasks": tasks}
    assert (await stack.client.post("/v1/workflows", json=document)).status_code == 201
    await stack.client.delete("/v1/models/acme/large-1")
    refused = await stack.client.post("/v1/workflows", json=document)
    assert [error["pointer"] for error in refused.json()["errors"]] == ["/agents/a/model"]


async def test_setting_it_again_changes_nothing(stack: Stack) -> None:
    first = await stack.client.put("/v1/templates/again", json={"text": "Be brief."})
    again = await stack.client.put("/v1/templates/again", json={"text": "Be brief.", "name": "again"})
    assert again.json() == first.json()


@pytest.mark.parametrize(
    ("path", "body", "pointers"),
    [
        ("/v1/models/acme/x", {"temperature": 3, "colour": "red"}, {"/temperature", "/colour"}),
        ("/v1/models/acme/x", {"name": "other/x", "kind": "tools"}, {"/name", "/kind"}),
        ("/v1/models/noslash", {}, {"/name"}),
        ("/v1/tools/x", {}, {"/description", "/parameters"}),
        ("/v1/tools/x", {"description": "d", "parameters": {"type": 7}}, {"/parameters/type"}),
        ("/v1/schemas/x", {"schema": {"type": "object", "pattern": "a"}}, {"/schema/pattern"}),
        ("/v1/schemas/x", [], {""}),
        ("/v1/templates/1x", {"text": "t"}, {"/name"}),
    ],
)
async def test_an_entry_that_is_wrong_is_refused_whole(
    stack: Stack, path: str, body: object, pointers: set[str]
) -> None:
    answer = await stack.client.put(path, json=body)
    assert (answer.status_code, answer.json()["code"]) == (422, "invalid")
    assert {error["pointer"] for error in answer.json()["errors"]} >= pointers


async def test_a_condition_that_the_catalogue_can_not_keep_is_refused(stack: Stack) -> None:
    answer = await stack.client.put("/v1/templates/x", json={"text": "t"}, headers={"If-Match": '"v1"'})
    assert (answer.status_code, answer.json()["errors"][0]["pointer"]) == (400, "/header/If-Match")
    assert BLOG["limits"] == {"max_attempts": 3}
