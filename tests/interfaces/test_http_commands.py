"""Commands over HTTP: what a client sends, what it gets back, and what it can read afterwards."""

from __future__ import annotations

import yaml

from interfaces.http.examples import BLOG
from tests.interfaces.stack import Stack


async def test_a_created_workflow_is_where_its_location_says(stack: Stack) -> None:
    created = await stack.client.post("/v1/workflows", json=BLOG, headers={"Prefer": "wait=10"})
    assert created.status_code == 201
    assert created.json().keys() == {"id", "version", "position"}
    assert created.headers["preference-applied"] == "wait=10"
    found = await stack.client.get(created.headers["location"])
    assert found.json()["definition"]["tasks"] == BLOG["tasks"]


async def test_a_workflow_written_in_yaml_is_the_same_as_in_json(stack: Stack) -> None:
    text = yaml.safe_dump(BLOG, sort_keys=False)
    for media_type in ("application/yaml", "text/yaml; charset=utf-8"):
        created = await stack.client.post("/v1/workflows", content=text, headers={"Content-Type": media_type})
        after = {"after": created.json()["position"]}
        found = await stack.client.get(created.headers["location"], params=after)
        assert found.json()["definition"] == await definition_of_json(stack)


async def definition_of_json(stack: Stack) -> object:
    found = await stack.client.get(f"/v1/workflows/{await stack.workflow()}")
    return found.json()["definition"]


async def test_the_order_of_tasks_is_the_order_of_the_document(stack: Stack) -> None:
    tasks = dict(reversed(list(BLOG["tasks"].items())))  # type: ignore[attr-defined]
    tasks = {name: {k: v for k, v in task.items() if k != "context"} for name, task in tasks.items()}
    found = await stack.client.get(f"/v1/workflows/{await stack.workflow(tasks=tasks)}")
    assert list(found.json()["definition"]["tasks"]) == ["write", "research"]


async def test_a_revision_is_a_version_beside_the_first(stack: Stack) -> None:
    workflow_id = await stack.workflow()
    revised = await stack.client.put(
        f"/v1/workflows/{workflow_id}", json={**BLOG, "name": "Second"}, headers={"Prefer": "wait=10"}
    )
    assert (revised.status_code, revised.json()["version"]) == (202, 2)
    versions = await stack.client.get(f"/v1/workflows/{workflow_id}/versions")
    assert [each["definition"]["name"] for each in versions.json()["items"]] == ["Second", "Blog production"]
    first = await stack.client.get(f"/v1/workflows/{workflow_id}/versions/1")
    assert first.json()["definition"]["name"] == "Blog production"


async def test_a_workflow_can_be_created_under_an_id_of_the_callers(stack: Stack) -> None:
    path, condition = "/v1/workflows/my-own_Id", {"If-None-Match": "*"}
    created = await stack.client.put(path, json=BLOG, headers=condition)
    assert (created.status_code, created.headers["location"]) == (201, path)
    again = await stack.client.put(path, json=BLOG, headers=condition)
    assert (again.status_code, again.json()["code"]) == (412, "precondition_failed")


async def test_an_archived_workflow_takes_no_executions(stack: Stack) -> None:
    workflow_id = await stack.workflow()
    archived = await stack.client.post(f"/v1/workflows/{workflow_id}/archive")
    assert archived.status_code == 202
    refused = await stack.client.post("/v1/executions", json={"workflow_id": workflow_id, "inputs": {}})
    assert (refused.status_code, refused.json()["code"]) == (409, "rejected")
    after = {"after": archived.json()["position"]}
    found = await stack.client.get(f"/v1/workflows/{workflow_id}", params=after)
    assert found.json()["is_archived"] is True


async def test_every_fault_of_a_document_is_named_at_once(stack: Stack) -> None:
    wrong = {"agents": {"a": {"role": "R", "goal": "{who}", "backstory": "b", "tools": ["nope"]}}}
    tasks = {"t": {"description": "d", "expected_output": "e", "agent": "ghost"}}
    answer = await stack.client.post("/v1/workflows", json={"name": "Wrong", **wrong, "tasks": tasks})
    assert answer.status_code == 422
    pointers = {error["pointer"] for error in answer.json()["errors"]}
    assert pointers == {"/agents/a/goal", "/agents/a/tools/0", "/tasks/t/agent"}


async def test_an_execution_starts_by_workflow_and_shows_in_the_list(stack: Stack) -> None:
    workflow_id = await stack.workflow()
    started = await stack.client.post(
        "/v1/executions",
        json={"workflow_id": workflow_id, "workflow_version": 1, "inputs": {"industry": "solar"}},
        headers={"Prefer": "wait=10"},
    )
    assert started.status_code == 201
    body = started.json()
    assert body.keys() == {"id", "version", "position", "status"}
    assert body["status"] == "PENDING"
    listed = await stack.client.get("/v1/executions", params={"workflow_id": workflow_id})
    assert [(each["id"], each["status"]) for each in listed.json()["items"]] == [(body["id"], "PENDING")]
    found = await stack.client.get(started.headers["location"])
    assert found.json()["inputs"] == {"industry": "solar", "tone": "friendly"}
    assert found.json()["definition"]["name"] == "Blog production"


async def test_an_execution_starts_with_an_inline_definition(stack: Stack) -> None:
    body = {"definition": BLOG, "inputs": {"industry": "solar"}, "name": "My run"}
    started = await stack.client.post("/v1/executions", json=body, headers={"Prefer": "wait=10"})
    found = await stack.client.get(started.headers["location"])
    assert (found.json()["name"], found.json()["workflow_id"]) == ("My run", None)


async def test_an_execution_is_of_one_thing_only(stack: Stack) -> None:
    for body in ({}, {"workflow_id": "x", "definition": BLOG}, {"definition": BLOG, "workflow_version": 1}):
        answer = await stack.client.post("/v1/executions", json=body)
        assert (answer.status_code, answer.json()["code"]) == (422, "invalid")


async def test_wrong_inputs_are_named(stack: Stack) -> None:
    workflow_id = await stack.workflow()
    body = {"workflow_id": workflow_id, "inputs": {"industry": 7, "colour": "red"}}
    answer = await stack.client.post("/v1/executions", json=body)
    assert answer.status_code == 422
    assert {error["pointer"] for error in answer.json()["errors"]} == {"/inputs/industry", "/inputs/colour"}


async def test_the_generated_name_is_the_name_of_the_start(stack: Stack) -> None:
    workflow_id = await stack.workflow()
    inline = await stack.client.post("/v1/executions/generate-name", json={"definition": BLOG})
    saved = await stack.client.post("/v1/executions/generate-name", json={"workflow_id": workflow_id})
    started = await stack.execution(workflow_id)
    found = await stack.client.get(f"/v1/executions/{started['id']}")
    assert inline.json() == saved.json() == {"name": found.json()["name"]}
    assert inline.status_code == 200


async def test_a_cancelled_execution_stays_cancelled(stack: Stack) -> None:
    started = await stack.execution()
    path = f"/v1/executions/{started['id']}/cancel"
    cancelled = await stack.client.post(path, json={"reason": "enough"}, headers={"Prefer": "wait=10"})
    assert (cancelled.status_code, cancelled.json()["status"]) == (202, "CANCELLED")
    again = await stack.client.post(path)
    assert again.json() == cancelled.json()
    found = await stack.client.get(f"/v1/executions/{started['id']}")
    assert (found.json()["status"], found.json()["reason"]) == ("CANCELLED", "enough")
    history = await stack.client.get(f"/v1/executions/{started['id']}/history")
    types = [event["type"] for event in history.json()["items"]]
    assert types == ["execution.requested", "execution.step_scheduled", "execution.cancelled"]
    assert [event["actor"] for event in history.json()["items"]] == ["user:local-administrator"] * 3


async def test_what_is_not_there_is_not_found(stack: Stack) -> None:
    nowhere = "0190aaaa-0000-7000-8000-000000000000"
    for answer in (
        await stack.client.put(f"/v1/workflows/{nowhere}", json=BLOG),
        await stack.client.post(f"/v1/workflows/{nowhere}/archive"),
        await stack.client.post("/v1/executions", json={"workflow_id": nowhere}),
        await stack.client.post(f"/v1/executions/{nowhere}/cancel"),
        await stack.client.get(f"/v1/workflows/{nowhere}"),
        await stack.client.get(f"/v1/workflows/{nowhere}/versions"),
        await stack.client.get(f"/v1/workflows/{nowhere}/versions/1"),
        await stack.client.get(f"/v1/executions/{nowhere}"),
        await stack.client.get(f"/v1/executions/{nowhere}/history"),
        await stack.client.get(f"/v1/executions/{nowhere}/timeline"),
        await stack.client.get(f"/v1/executions/{nowhere}/stream"),
        await stack.client.get("/v1/executions/%00%ff/stream"),
        await stack.client.get("/v1/models/openai/none"),
        await stack.client.delete("/v1/tools/none"),
    ):
        assert (answer.status_code, answer.json()["code"]) == (404, "not_found"), answer.request.url


async def test_the_trace_of_a_request_is_recorded_with_its_events(stack: Stack) -> None:
    trace = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
    body = {"definition": BLOG, "inputs": {"industry": "solar"}}
    headers = {"traceparent": trace, "Prefer": "wait=10"}
    started = await stack.client.post("/v1/executions", json=body, headers=headers)
    history = await stack.client.get(f"{started.headers['location']}/history")
    assert {event["traceparent"] for event in history.json()["items"]} == {trace}
    refused = await stack.client.get("/v1/executions/nope", headers={"traceparent": trace})
    assert refused.json()["trace_id"] == "4bf92f3577b34da6a3ce929d0e0e4736"
