"""Looking back over HTTP: state, diff, and a history that is narrowed down."""

from __future__ import annotations

from operator import itemgetter
from typing import Any

import pytest

from tests.interfaces.stack import Stack


async def cancelled(stack: Stack) -> str:
    """An execution of three events."""
    execution_id: str = (await stack.execution())["id"]
    path = f"/v1/executions/{execution_id}/cancel"
    answer = await stack.client.post(path, json={"reason": "No need"}, headers={"Prefer": "wait=10"})
    assert answer.status_code == 202, answer.text
    return execution_id


async def ask(stack: Stack, path: str, status: int = 200, **params: Any) -> dict[str, Any]:
    answer = await stack.client.get(path, params=params)
    assert answer.status_code == status, answer.text
    found: dict[str, Any] = answer.json()
    return found


async def test_a_state_is_of_the_version_that_was_asked_for(stack: Stack) -> None:
    path = f"/v1/executions/{await cancelled(stack)}/state"
    newest = await ask(stack, path)
    assert (newest["version"], newest["state"]["status"]) == (3, "CANCELLED")
    first = await ask(stack, path, version=1)
    assert (first["version"], first["state"]["status"], first["state"]["steps"]) == (1, "PENDING", {})
    assert await ask(stack, path, at=first["at"]) in (first, await ask(stack, path, version=2))
    answer = await stack.client.get(path, headers={"If-None-Match": '"v3"'})
    assert (answer.status_code, answer.headers["etag"]) == (304, '"v3"')
    for params in ({"version": 4}, {"at": "2001-01-01T00:00:00Z"}):
        assert (await ask(stack, path, 404, **params))["code"] == "not_found"


async def test_a_diff_compares_versions_or_executions(stack: Stack) -> None:
    one, other = await cancelled(stack), (await stack.execution())["id"]
    within = await ask(stack, f"/v1/executions/{one}/diff", **{"from": 2})
    assert within["compares"] == "versions"
    assert within["events"] == {"execution.cancelled": 1}
    end = {"type": "execution.cancelled", "reason": "No need"}
    assert sorted(within["changes"], key=itemgetter("path")) == [
        {"op": "replace", "path": "/end", "before": None, "after": end},
        {"op": "replace", "path": "/status", "before": "PENDING", "after": "CANCELLED"},
    ]
    between = await ask(stack, f"/v1/executions/{one}/diff", **{"with": other})
    assert between["compares"] == "executions"
    assert (between["left"]["status"], between["right"]["status"]) == ("CANCELLED", "PENDING")
    assert (between["first_divergence"], between["calls"]) == (None, [])
    await ask(stack, f"/v1/executions/{one}/diff", 404, **{"with": "nobody"})
    await ask(stack, f"/v1/executions/{one}/diff", 404, **{"from": 1, "to": 9})


async def test_a_what_if_is_a_new_execution_beside_the_old_one(stack: Stack) -> None:
    one = await cancelled(stack)
    path = f"/v1/executions/{one}/what-if"
    answer = await stack.client.post(path, json={"overrides": {"model": "demo/model"}})
    assert answer.status_code == 201, answer.text
    what_if = await ask(stack, answer.headers["location"], after=answer.json()["position"])
    assert what_if["forked_from"] == {"execution_id": one, "at": 3, "is_what_if": True}
    assert what_if["name"].endswith(" (what if)")
    wrong = await stack.client.post(path, json={"overrides": {"calls": {"c": {"result": "x"}}}})
    assert [error["pointer"] for error in wrong.json()["errors"]] == ["/overrides/calls/c"]
    assert (await stack.client.post(f"{answer.headers['location']}/fork")).status_code == 409
    assert (await stack.client.post("/v1/executions/nobody/what-if")).status_code == 404


async def test_a_history_is_narrowed_by_type_and_content(stack: Stack) -> None:
    path = f"/v1/executions/{await cancelled(stack)}/history"
    by_type = await ask(stack, path, type="execution.cancelled,execution.requested")
    assert [item["version"] for item in by_type["items"]] == [1, 3]
    by_content = await ask(stack, path, contains="No need")
    assert [item["type"] for item in by_content["items"]] == ["execution.cancelled"]
    first = await ask(stack, path, type="execution.cancelled,execution.requested", limit=1)
    rest = await ask(stack, path, type="execution.cancelled,execution.requested", cursor=first["next_cursor"])
    assert first["items"] + rest["items"] == by_type["items"]


WRONG: list[tuple[str, dict[str, Any], str]] = [
    ("state", {"version": 0}, "version"),
    ("state", {"version": 1, "at": "2026-01-01T00:00:00Z"}, "at"),
    ("state", {"at": "noon"}, "at"),
    ("diff", {}, "with"),
    ("diff", {"from": 1, "with": "x"}, "with"),
    ("diff", {"to": 1}, "from"),
    ("diff", {"from": 2, "to": 1}, "from"),
    ("diff", {"from": 1, "limit": 5}, "limit"),
    ("diff", {"from_version": 1}, "from_version"),
    ("history", {"type": "execution.exploded"}, "type"),
    ("history", {"contains": ""}, "contains"),
]


@pytest.mark.parametrize(("view", "params", "name"), WRONG, ids=str)
async def test_a_parameter_that_is_wrong_is_named(
    stack: Stack, view: str, params: dict[str, Any], name: str
) -> None:
    execution_id = (await stack.execution())["id"]
    refused = await ask(stack, f"/v1/executions/{execution_id}/{view}", 400, **params)
    assert [error["pointer"] for error in refused["errors"]] == [f"/query/{name}"]
