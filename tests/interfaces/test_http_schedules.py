"""Schedules over HTTP: made, changed, switched off, deleted, refused in words."""

from __future__ import annotations

from typing import Any

import httpx
import pytest

from application import summing
from tests.interfaces.stack import Stack


async def planned(stack: Stack, **changes: object) -> httpx.Response:
    body: dict[str, Any] = {"name": "Nightly", "cron": "0 2 * * *", "inputs": {"industry": "tea"}, **changes}
    if "execution_id" not in body and "workflow_id" not in body:
        body["workflow_id"] = await stack.workflow()
    return await stack.client.post("/v1/schedules", json=body, headers={"Prefer": "wait=10"})


async def test_a_schedule_is_where_its_location_says_with_its_next_slot(stack: Stack) -> None:
    created = await planned(stack, timezone="Asia/Kolkata")
    assert created.status_code == 201, created.text
    found = (await stack.client.get(created.headers["location"])).json()
    assert found["next_slot"].endswith("T20:30:00.000000Z")
    assert (found["enabled"], found["overlap"], found["catch_up"]) == (True, "skip", "last")
    listed = await stack.client.get("/v1/schedules", params={"workflow_id": found["workflow_id"]})
    assert [row["id"] for row in listed.json()["items"]] == [found["id"]]


async def test_a_schedule_can_be_made_of_an_execution(stack: Stack) -> None:
    execution = await stack.execution()
    created = await planned(stack, execution_id=execution["id"], inputs={})
    assert created.status_code == 201, created.text
    found = (await stack.client.get(created.headers["location"])).json()
    assert found["inputs"] == {"industry": "solar", "tone": "friendly"}


async def test_a_schedule_can_be_switched_off_and_deleted(stack: Stack) -> None:
    created = await planned(stack)
    path = created.headers["location"]
    found = (await stack.client.get(path)).json()
    fields = ("name", "workflow_id", "inputs", "cron", "timezone", "overlap", "catch_up")
    plan = {**{name: found[name] for name in fields}, "enabled": False}
    revised = await stack.client.put(path, json=plan, headers={"Prefer": "wait=10", "If-Match": '"v1"'})
    assert (revised.status_code, revised.json()["version"]) == (202, 2)
    assert (await stack.client.get(path)).json()["next_slot"] is None
    stale = await stack.client.put(path, json=plan, headers={"If-Match": '"v1"'})
    assert stale.status_code == 412
    deleted = await stack.client.delete(path, headers={"Prefer": "wait=10"})
    assert deleted.status_code == 202
    assert (await stack.client.get(path)).status_code == 404
    assert (await stack.client.put(path, json=plan)).status_code == 404


async def test_what_is_wrong_is_named(stack: Stack) -> None:
    answers = [
        (await planned(stack, cron="every night at two"), 422, "/cron"),
        (await planned(stack, timezone="Mars/Olympus"), 422, "/timezone"),
        (await planned(stack, inputs={}), 422, "/inputs/industry"),
        (await planned(stack, overlap="maybe"), 422, "/overlap"),
        (await planned(stack, workflow_id="nothing"), 404, "nothing"),
        (await planned(stack, workflow_id=None), 422, "expected one of both"),
        (await planned(stack, execution_id="nobody", inputs={}), 404, "nobody"),
    ]
    for answer, code, says in answers:
        assert (answer.status_code, says in answer.text) == (code, True), answer.text


async def test_a_deletion_takes_no_body(stack: Stack) -> None:
    path = (await planned(stack)).headers["location"]
    refused = await stack.client.request("DELETE", path, json={"why": "too often"})
    assert (refused.status_code, "/why" in refused.text) == (422, True)
    assert (await stack.client.get(path)).status_code == 200
    assert (await stack.client.request("DELETE", path, json={})).status_code == 202


async def test_a_sum_in_its_stream_is_a_version_like_any_other(
    stack: Stack, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(summing, "EVERY", 2)
    path = (await planned(stack)).headers["location"]
    plan = {"name": "Nightly", "cron": "0 3 * * *", "inputs": {"industry": "tea"}}
    plan["workflow_id"] = (await stack.client.get(path)).json()["workflow_id"]
    revised = await stack.client.put(path, json=plan, headers={"Prefer": "wait=10"})
    shown = await stack.client.get(path)
    assert (revised.json()["version"], revised.headers["etag"], shown.headers["etag"]) == (3, '"v3"', '"v3"')
    deleted = await stack.client.delete(path, headers={"Prefer": "wait=10", "If-Match": '"v3"'})
    assert (deleted.status_code, deleted.json()["version"]) == (202, 5)
    assert (await stack.client.get(path)).status_code == 404
    assert (await stack.client.delete(path)).status_code == 202
