"""Flows on a whole installation: the planted ticket triage on each of its ways, waits, schedules.

Real processes, the built-in model; an execution is left waiting while everything is killed.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.processes.stack import Up, get, post
from tests.waiting import eventually

TASK = {"agent": "writer", "description": "Say {word}", "expected_output": "a word"}
AGENTS = {"writer": {"role": "Writer", "goal": "Write", "backstory": "Plain words"}}


@pytest.fixture
def ups() -> Iterator[list[Up]]:
    started: list[Up] = []
    yield started
    for up in started:
        up.end()


def document(steps: dict[str, Any], **more: object) -> dict[str, Any]:
    tasks = {name: TASK for step in steps.values() for name in step.get("crew", {}).get("tasks", ())}
    return {"name": "Flow", "agents": AGENTS, "tasks": tasks, "steps": steps, "inputs": INPUTS, **more}


INPUTS = {"word": {"type": "string", "default": "yes"}}


def start(client: httpx.Client, ticket: str) -> str:
    body = {"workflow_id": "ticket-triage", "inputs": {"ticket": ticket}}
    return str(post(client, "/v1/executions", body)["id"])


def settled(client: httpx.Client, execution_id: str) -> dict[str, Any] | None:
    """The execution once it waits, or has ended."""
    found = get(client, f"/v1/executions/{execution_id}")
    return found if found["status"] not in ("PENDING", "RUNNING") else None


async def at_rest(client: httpx.Client, execution_id: str, *also: str) -> dict[str, Any]:
    """The execution once it waits or has ended; `also`: statuses that are no rest either."""
    found: list[dict[str, Any]] = []

    def is_at_rest() -> bool:
        execution = settled(client, execution_id)
        if execution is not None and execution["status"] not in also:
            found.append(execution)
        return bool(found)

    await eventually(is_at_rest, 60)
    return found[0]


async def ended(client: httpx.Client, execution_id: str) -> dict[str, Any]:
    return await at_rest(client, execution_id, "WAITING")


def decide(client: httpx.Client, execution_id: str, **body: object) -> None:
    [approval] = get(client, f"/v1/approvals?status=pending&execution_id={execution_id}")["items"]
    path = f"/v1/executions/{execution_id}/approvals/{approval['id']}"
    shown = {"digest": approval["digest"], "approver": "lead@example.com", "comment": "seen"}
    post(client, path, {**shown, **body})


def statuses(execution: dict[str, Any]) -> dict[str, str]:
    return {step["step"]: step["status"] for step in execution["steps"]}


async def test_the_ticket_triage_goes_each_of_its_ways(tmp_path: Path, ups: list[Up]) -> None:
    ups.append(up := Up(tmp_path / "d"))
    ids = [start(up.client, f"Ticket {number}: the invoice is wrong") for number in range(8)]
    found = [await at_rest(up.client, one) for one in ids]
    alarmed = [one for one in found if one["status"] == "COMPLETED"]
    waiting = [one for one in found if one["status"] == "WAITING"]
    assert len(alarmed) + len(waiting) == len(ids)
    assert alarmed
    assert len(waiting) >= 3
    for one in alarmed:
        assert statuses(one)["alarm"] == "completed"
        assert statuses(one)["answer"] == "skipped"
    approved, rejected, again = (one["id"] for one in waiting[:3])
    decide(up.client, approved, decision="approve")
    decide(up.client, rejected, decision="reject")
    decide(up.client, again, decision="retry")
    done = await ended(up.client, approved)
    assert (done["status"], statuses(done)["alarm"]) == ("COMPLETED", "skipped")
    refused = await ended(up.client, rejected)
    assert (refused["status"], refused["failure"]["code"]) == ("FAILED", "rejected")
    await eventually(lambda: attempts(up.client, again) == {2}, 60)
    late = await ended(up.client, start_hurried(up.client))
    assert (late["status"], late["failure"]["code"]) == ("FAILED", "rejected")
    assert "within 1 s" in late["failure"]["message"]


def start_hurried(client: httpx.Client) -> str:
    """The same document, but that the lead has a second in place of an hour and sees every ticket."""
    document = get(client, "/v1/workflows/ticket-triage")["definition"]
    assert document["steps"]["gate"]["approval"].pop("timeout_s") == 3600
    document["steps"]["gate"]["approval"]["timeout_s"] = 1
    document["steps"]["route"]["router"]["routes"][0]["when"] = "risk.risk_score > 1"
    body = {"definition": document, "inputs": {"ticket": "The invoice is wrong"}}
    return str(post(client, "/v1/executions", body)["id"])


def attempts(client: httpx.Client, execution_id: str) -> set[int]:
    """Of the steps before the gate, once the execution is at rest."""
    steps = (settled(client, execution_id) or {"steps": []})["steps"]
    return {step["attempt"] for step in steps if step["step"] in ("triage", "risk")}


async def test_an_approval_outlives_the_end_of_everything(tmp_path: Path, ups: list[Up]) -> None:
    steps: dict[str, Any] = {"first": {"crew": {"tasks": ["one"]}}}
    steps["gate"] = {"approval": {"message": "Go on?"}, "after": ["first"]}
    steps["second"] = {"crew": {"tasks": ["two"]}, "after": ["gate"]}
    ups.append(first := Up(tmp_path / "d"))
    execution_id = str(post(first.client, "/v1/executions", {"definition": document(steps)})["id"])
    inner = post(first.client, "/v1/workflows", document(steps))["id"]
    waiting, working = (begin_parent(first.client, inner, **more) for more in ({}, {"word": "later"}))
    await at_rest(first.client, execution_id)
    child_id = await child_of(first.client, waiting)
    await at_rest(first.client, child_id)
    await child_of(first.client, working)  # its crew is somewhere at work
    first.kill()
    ups.append(second := Up(tmp_path / "d"))
    for one in (execution_id, child_id, await child_of(second.client, working)):
        await at_rest(second.client, one)
        decide(second.client, one, decision="approve")
    done = await ended(second.client, execution_id)
    assert done["status"] == "COMPLETED"
    assert {step["attempt"] for step in done["steps"] if step["step"] != "gate"} == {1}
    for parent_id in (waiting, working):
        await check_parent(second.client, parent_id)


def begin_parent(client: httpx.Client, inner: str, word: str = "soon") -> str:
    """An execution that runs a saved workflow, and then a crew."""
    sub = {"workflow": {"workflow_id": inner, "inputs": {"word": "inputs.word"}}}
    steps = {"sub": sub, "then": {"crew": {"tasks": ["one"]}, "after": ["sub"]}}
    body = {"definition": document(steps), "inputs": {"word": word}}
    return str(post(client, "/v1/executions", body)["id"])


async def child_of(client: httpx.Client, parent_id: str) -> str:
    """The id of its child, once that was begun."""
    path = f"/v1/executions?parent={parent_id}"
    await eventually(lambda: len(get(client, path)["items"]) == 1, 60)
    return str(get(client, path)["items"][0]["id"])


async def check_parent(client: httpx.Client, parent_id: str) -> None:
    """It went on once, with what its one child gave, which counts with it."""
    parent = await ended(client, parent_id)
    child_id = await child_of(client, parent_id)
    child = await ended(client, child_id)
    assert (parent["status"], child["status"]) == ("COMPLETED", "COMPLETED")
    history = get(client, f"/v1/executions/{parent_id}/history?limit=200")["items"]
    resolved = [entry["data"] for entry in history if entry["type"] == "execution.step_resolved"]
    assert [data["output"]["text"] for data in resolved] == [child["output"]["text"]]
    assert [entry["type"] for entry in history].count("execution.child_ended") == 1
    assert parent["children_model_calls"] == child["model_calls"] >= 2


async def test_times_are_kept_while_everything_is_down(tmp_path: Path, ups: list[Up]) -> None:
    """A wait step and an approval's timeout ring after a restart; a schedule runs its next slot."""
    then = {"crew": {"tasks": ["one"]}}
    wait: dict[str, Any] = {"rest": {"wait": {"for_s": 2}}, "then": {**then, "after": ["rest"]}}
    asking = {"approval": {"message": "Go on?", "timeout_s": 2}}
    gate: dict[str, Any] = {"gate": asking, "then": {**then, "after": ["gate"]}}
    ups.append(first := Up(tmp_path / "d"))
    client = first.client
    waits = str(post(client, "/v1/executions", {"definition": document(wait)})["id"])
    asks = str(post(client, "/v1/executions", {"definition": document(gate)})["id"])
    nightly = {"name": "Each minute", "workflow_id": "blog-production", "cron": "* * * * *"}
    made = post(client, "/v1/schedules", {**nightly, "inputs": {"industry": "tea"}, "overlap": "queue"})
    first.kill()
    ups.append(second := Up(tmp_path / "d"))
    assert (await ended(second.client, waits))["status"] == "COMPLETED"
    assert (await ended(second.client, asks))["failure"]["code"] == "rejected"
    path = f"/v1/schedules/{made['id']}"
    await eventually(lambda: get(second.client, path)["runs"] >= 1, 100)
    run = get(second.client, path)["last_execution_id"]
    assert run.startswith(made["id"])
    assert (await ended(second.client, run))["status"] == "COMPLETED"
