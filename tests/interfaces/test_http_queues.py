"""Queue, priority and concurrency over HTTP: where they may stand, what is refused, what a reader sees."""

from __future__ import annotations

from typing import Any

import pytest

from tests.interfaces.stack import Stack


async def seen(stack: Stack, started: dict[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """The execution, and its row in the list."""
    after = {"after": started["position"]}
    detail = await stack.client.get(f"/v1/executions/{started['id']}", params=after)
    listed = await stack.client.get("/v1/executions", params={**after, "limit": 1})
    return detail.json(), listed.json()["items"][0]


async def test_a_start_says_where_it_runs_or_its_document_does(stack: Stack) -> None:
    workflow_id = await stack.workflow(queue="gpu", priority=8)
    for more, place in (({}, ("gpu", 8)), ({"queue": "cpu", "priority": 1}, ("cpu", 1))):
        for found in await seen(stack, await stack.execution(workflow_id, **more)):
            assert (found["queue"], found["priority"], found["waiting_for"]) == (*place, None)


async def test_an_execution_that_is_not_admitted_says_what_it_waits_for(stack: Stack) -> None:
    workflow_id = await stack.workflow(concurrency={"limit": 1, "key": "{industry}"})
    started = await stack.execution(workflow_id)
    for found in await seen(stack, started):
        assert (found["status"], found["waiting_for"]) == ("PENDING", "concurrency")
    cancelled = await stack.client.post(f"/v1/executions/{started['id']}/cancel")
    for found in await seen(stack, {**started, **cancelled.json()}):
        assert (found["status"], found["waiting_for"]) == ("CANCELLED", None)


@pytest.mark.parametrize(
    ("more", "pointer"),
    [
        ({"priority": 10}, "/priority"),
        ({"priority": -1}, "/priority"),
        ({"priority": 2.5}, "/priority"),
        ({"queue": "a b"}, "/queue"),
        ({"queue": ""}, "/queue"),
        ({"concurrency": {"limit": 0}}, "/concurrency/limit"),
        ({"concurrency": {"limit": 1, "key": "{nobody}"}}, "/concurrency/key"),
        ({"concurrency": {"limit": 1, "per": "day"}}, "/concurrency"),
        ({"isolation": "container"}, "/isolation"),
    ],
)
async def test_what_is_wrong_is_named_by_its_field(stack: Stack, more: dict[str, Any], pointer: str) -> None:
    document = (await stack.client.get(f"/v1/workflows/{await stack.workflow()}")).json()["definition"]
    refused = await stack.client.post("/v1/workflows", json={**document, **more})
    assert refused.status_code == 422
    assert any(error["pointer"].startswith(pointer) for error in refused.json()["errors"])
