"""Forks over HTTP: what is taken over, what is refused, and where lineage and savings are shown."""

from __future__ import annotations

from typing import Any

import httpx

from application.commands import Context
from domain.execution import (
    Content,
    ModelCallCompleted,
    ModelCallStarted,
    Progress,
    RecordProgress,
    StartStep,
    StepCompleted,
    TaskCompleted,
    TaskOutput,
    TaskStarted,
)
from tests.interfaces.stack import Stack

RUNNER = Context(actor="runner:r1")
WAIT = {"Prefer": "wait=10"}
TEXT = Content("d" * 64, 4, "text")
AT: dict[str, Any] = {"step": "crew", "attempt": 1}


def task(name: str, call: str) -> list[Progress]:
    """A task with one model call, from its start to its end: four entries."""
    return [
        TaskStarted(**AT, task=name, agent="writer"),
        ModelCallStarted(**AT, task=name, call=call, model="demo/model", request=TEXT, agent="writer"),
        ModelCallCompleted(
            **AT,
            task=name,
            call=call,
            model="demo/model",
            response=TEXT,
            prompt_tokens=100,
            completion_tokens=20,
            cost_usd=0.25,
            duration_ms=9,
        ),
        TaskCompleted(**AT, task=name, output=TaskOutput(f"{name} done"), duration_ms=10),
    ]


async def worked(stack: Stack, *entries: Progress) -> str:
    """An execution (requested, scheduled, started: versions 1 to 3) that got so far."""
    execution_id = str((await stack.execution())["id"])
    claim = StartStep(execution_id=execution_id, step="crew", turn=1, delivery=1, runner="r1")
    await stack.commands.handle(claim, RUNNER)
    if entries:
        report = RecordProgress(execution_id=execution_id, step="crew", attempt=1, after=0, entries=entries)
        await stack.commands.handle(report, RUNNER)
    return execution_id


async def completed(stack: Stack) -> str:
    return await worked(stack, *task("research", "c1"), *task("write", "c2"), StepCompleted(**AT))


async def fork(stack: Stack, execution_id: str, **body: object) -> httpx.Response:
    return await stack.client.post(f"/v1/executions/{execution_id}/fork", json=body, headers=WAIT)


async def faults(stack: Stack, execution_id: str, **body: object) -> dict[str, str]:
    answer = await fork(stack, execution_id, **body)
    assert (answer.status_code, answer.json()["code"]) == (422, "invalid"), answer.text
    return {fault["pointer"]: fault["message"] for fault in answer.json()["errors"]}


async def test_a_fork_has_what_was_done_and_shows_what_that_saved(stack: Stack) -> None:
    parent = await worked(stack, *task("research", "c1"), *task("write", "c2")[:3])
    forked = await fork(stack, parent, overrides={"agents": {"writer": {"model": "demo/other"}}})
    assert (forked.status_code, forked.json()["status"]) == (201, "PENDING")
    found = (await stack.client.get(forked.headers["location"])).json()
    assert found["forked_from"] == {"execution_id": parent, "at": 10, "is_what_if": False}
    assert found["name"].endswith(" (fork)")
    assert (found["reused_calls"], found["saved_tokens"], found["saved_usd"]) == (1, 120, 0.25)
    assert (found["model_calls"], found["cost_usd"]) == (0, 0)
    assert found["definition"]["agents"]["writer"]["model"] == "demo/other"
    history = (await stack.client.get(f"{forked.headers['location']}/history")).json()["items"]
    assert [event["type"].partition(".")[2] for event in history] == [
        "requested",
        "call_reused",
        "task_reused",
        "step_scheduled",
    ]
    assert history[1]["data"]["origin"] == {"execution_id": parent, "version": 6, "call": "c1"}
    timeline = (await stack.client.get(f"{forked.headers['location']}/timeline")).json()["items"]
    assert [(entry["kind"], entry["status"]) for entry in timeline] == [
        ("model_call", "reused"),
        ("task", "reused"),
    ]


async def test_lineage_is_seen_from_both_ends(stack: Stack) -> None:
    parent = await worked(stack)
    before = await stack.client.get(f"/v1/executions/{parent}")
    forks = [(await fork(stack, parent, name=name)).json()["id"] for name in ("one", "two")]
    listed = (await stack.client.get(f"/v1/executions?forked_from={parent}")).json()["items"]
    assert [item["id"] for item in listed] == forks[::-1]
    assert listed[0]["forked_from"] == {"execution_id": parent, "at": 3, "is_what_if": False}
    conditions = {"If-None-Match": before.headers["etag"]}
    after = await stack.client.get(f"/v1/executions/{parent}", headers=conditions)
    assert after.json()["children"] == [{"execution_id": each, "at": 3} for each in forks]
    assert (before.json()["children"], before.json()["forked_from"]) == ([], None)


async def test_without_at_a_fork_begins_where_its_overrides_can_still_matter(stack: Stack) -> None:
    parent = await completed(stack)
    edited = await fork(stack, parent, overrides={"tasks": {"write": {"description": "Write a poem"}}})
    found = (await stack.client.get(edited.headers["location"])).json()
    assert found["forked_from"]["at"] == 7
    edited = await fork(stack, parent, overrides={"calls": {"c2": {"result": "Another text"}}})
    found = (await stack.client.get(edited.headers["location"])).json()
    assert found["forked_from"]["at"] == 10


async def test_what_a_fork_names_is_checked_like_a_document(stack: Stack) -> None:
    parent = await worked(stack, *task("research", "c1"))
    overrides = {
        "inputs": {"industry": 7, "nothing": 1},
        "model": "none/such",
        "agents": {"nobody": {"role": "x"}, "writer": {"model": "none/other", "goal": "{unknown}"}},
        "tasks": {"nothing": {"description": "x"}},
        "calls": {"c9": {"result": "x"}},
    }
    found = await faults(stack, parent, overrides=overrides)
    assert set(found) == {
        "/overrides/model",
        "/overrides/agents/nobody",
        "/overrides/agents/writer/model",
        "/overrides/agents/writer/goal",
        "/overrides/tasks/nothing",
    }
    assert "expected one of: researcher, writer" in found["/overrides/agents/nobody"]
    assert set(await faults(stack, parent, overrides={"calls": {"c9": {"result": "x"}}})) == {
        "/overrides/calls/c9"
    }
    assert set(await faults(stack, parent, overrides={"inputs": overrides["inputs"]})) == {
        "/overrides/inputs/industry",
        "/overrides/inputs/nothing",
    }
    assert set(await faults(stack, parent, overrides={"agents": {"writer": {"tools": []}}})) == {
        "/overrides/agents/writer/tools"
    }


async def test_an_override_that_comes_too_late_is_refused(stack: Stack) -> None:
    parent = await completed(stack)
    late = {
        "tasks": {"research": {"description": "x"}},
        "agents": {"researcher": {"role": "x"}},
        "calls": {"c1": {"result": "x"}, "c2": {"result": "x"}},
    }
    found = await faults(stack, parent, at=8, overrides=late)
    assert set(found) == {
        "/overrides/tasks/research",
        "/overrides/agents/researcher",
        "/overrides/calls/c1",
        "/overrides/calls/c2",
    }
    assert "expected `at` to be below 4" in found["/overrides/tasks/research"]
    assert "expected a later `at`" in found["/overrides/calls/c2"]
    found = await faults(stack, parent, overrides={"model": "demo/model"})
    assert set(found) == {"/at", "/overrides/model"}
    assert set(await faults(stack, parent, at=99)) == {"/at"}
    assert set(await faults(stack, parent)) == {"/at"}


async def test_every_state_of_an_execution_can_be_forked(stack: Stack) -> None:
    pending = str((await stack.execution())["id"])
    running = await worked(stack, *task("research", "c1")[:2])
    cancelled = await worked(stack, *task("research", "c1"))
    await stack.client.post(f"/v1/executions/{cancelled}/cancel", headers=WAIT)
    for execution_id in (pending, running, cancelled):
        assert (await fork(stack, execution_id)).status_code == 201
    assert (await fork(stack, await completed(stack), at=10)).status_code == 201
    empty = await stack.client.post(f"/v1/executions/{pending}/fork")
    assert empty.status_code == 201


async def test_what_is_not_there_or_archived_is_not_forked(stack: Stack) -> None:
    assert (await fork(stack, "nowhere")).json()["code"] == "not_found"
    workflow_id = await stack.workflow()
    execution_id = str((await stack.execution(workflow_id))["id"])
    await stack.client.post(f"/v1/workflows/{workflow_id}/archive", headers=WAIT)
    refused = await fork(stack, execution_id)
    assert (refused.status_code, refused.json()["code"]) == (409, "rejected")


async def test_savings_are_counted_by_day_model_and_workflow(stack: Stack) -> None:
    parent = await worked(stack, *task("research", "c1"))
    workflow_id = (await stack.client.get(f"/v1/executions/{parent}")).json()["workflow_id"]
    position = (await fork(stack, parent)).json()["position"]
    params = {"workflow_id": workflow_id, "after": position}
    (usage,) = (await stack.client.get("/v1/usage", params=params)).json()["items"]
    assert (usage["calls"], usage["cost_usd"]) == (1, 0.25)
    assert (usage["reused_calls"], usage["saved_tokens"], usage["saved_usd"]) == (1, 120, 0.25)


async def test_a_fork_with_a_key_is_made_once(stack: Stack) -> None:
    parent = await worked(stack)
    path, headers = f"/v1/executions/{parent}/fork", {"Idempotency-Key": f"fork-{parent}"}
    answers = [await stack.client.post(path, json={"at": 2}, headers=headers) for _ in range(2)]
    assert len({answer.json()["id"] for answer in answers}) == 1
    other = await stack.client.post(path, json={"at": 1}, headers=headers)
    assert other.json()["code"] == "key_reused"
