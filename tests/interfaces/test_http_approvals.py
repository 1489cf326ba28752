"""Approvals and signals over HTTP: found in the list, decided once, refused in words."""

from __future__ import annotations

import asyncio
from typing import Any

import httpx

from domain.execution import RecordProgress, StartStep, StepCompleted, TaskCompleted, TaskOutput
from tests.interfaces.stack import SYSTEM, Stack

STEPS: dict[str, Any] = {
    "first": {"crew": {"tasks": ["research"]}},
    "gate": {"approval": {"message": "Go on?", "require_comment": True}, "after": ["first"]},
    "second": {"crew": {"tasks": ["write"]}, "after": ["gate"]},
    "reply": {"signal": {}, "after": ["second"]},
}


async def waiting(stack: Stack, **changes: object) -> str:
    """An execution that waits for its gate."""
    workflow_id = await stack.workflow(steps=STEPS, **changes)
    execution_id = str((await stack.execution(workflow_id))["id"])
    await run(stack, execution_id, "first", "research")
    return execution_id


async def run(stack: Stack, execution_id: str, step: str, task: str) -> None:
    """A runner's work on a step of one task."""
    at: dict[str, Any] = {"step": step, "attempt": 1}
    claim = StartStep(execution_id=execution_id, step=step, turn=1, delivery=1, runner="r")
    await stack.commands.handle(claim, SYSTEM)
    done = TaskCompleted(**at, task=task, output=TaskOutput("Three points"), duration_ms=1)
    report = RecordProgress(execution_id=execution_id, **at, after=0, entries=(done, StepCompleted(**at)))
    await stack.commands.handle(report, SYSTEM)


async def pending(stack: Stack, execution_id: str) -> dict[str, Any]:
    after = await stack.log.head()
    params: dict[str, Any] = {"status": "pending", "execution_id": execution_id, "after": after}
    found = await stack.client.get("/v1/approvals", params=params)
    assert found.status_code == 200, found.text
    [approval] = found.json()["items"]
    return dict(approval)


async def decide(stack: Stack, approval: dict[str, Any], **body: object) -> httpx.Response:
    path = f"/v1/executions/{approval['execution_id']}/approvals/{approval['id']}"
    wanted = {"decision": "approve", "digest": approval["digest"], "comment": "fine", **body}
    return await stack.client.post(path, json=wanted, headers={"Prefer": "wait=10"})


async def test_what_waits_is_listed_with_what_is_shown(stack: Stack) -> None:
    approval = await pending(stack, await waiting(stack))
    assert (approval["id"], approval["message"], approval["step"]) == ("1-gate", "Go on?", "gate")
    assert approval["shown"] == [{"step": "first", "task": "research", "output": {"text": "Three points"}}]
    execution = await stack.client.get(f"/v1/executions/{approval['execution_id']}")
    assert execution.json()["status"] == "WAITING"


async def test_of_twenty_decisions_at_once_one_is_taken_and_nineteen_are_refused(stack: Stack) -> None:
    approval = await pending(stack, await waiting(stack))
    answers = await asyncio.gather(*(decide(stack, approval, approver=f"p{n}") for n in range(20)))
    codes = sorted(answer.status_code for answer in answers)
    assert codes == [202] + [409] * 19
    path = f"/v1/executions/{approval['execution_id']}/history?limit=200"
    history = await stack.client.get(path)
    types = [event["type"] for event in history.json()["items"]]
    assert types.count("execution.approval_given") == types.count("execution.step_resolved") == 1
    assert types.count("execution.step_scheduled") == 2


async def test_a_decision_is_seen_where_it_was_asked(stack: Stack) -> None:
    approval = await pending(stack, await waiting(stack))
    edits = {"research": "Two points"}
    answer = await decide(stack, approval, approver="lead@example.com", edits=edits)
    assert answer.status_code == 202, answer.text
    path = f"/v1/executions/{approval['execution_id']}/approvals/1-gate"
    found = (await stack.client.get(path, params={"after": answer.json()["position"]})).json()
    assert (found["status"], found["decisions"][0]["by"]) == ("approved", "lead@example.com")
    assert found["decisions"][0]["edits"] == {"research": {"text": "Two points"}}
    assert found["shown"][0]["output"] == {"text": "Two points"}


async def test_a_decision_in_nobodys_name_is_the_callers_own(stack: Stack) -> None:
    approval = await pending(stack, await waiting(stack))
    answer = await decide(stack, approval, decision="reject", comment="no")
    found = await stack.client.get(
        f"/v1/executions/{approval['execution_id']}", params={"after": answer.json()["position"]}
    )
    assert found.json()["status"] == "FAILED"
    assert "user:local-administrator rejected 'Go on?': no" in found.json()["error"]


async def test_what_can_not_be_decided_is_refused_in_words(stack: Stack) -> None:
    approval = await pending(stack, await waiting(stack))
    answers = [
        (await decide(stack, approval, digest="0" * 64), 409, "look at it again"),
        (await decide(stack, approval, comment=""), 409, "needs a comment"),
        (await decide(stack, approval, digest="x"), 422, "/digest"),
        (await decide(stack, approval, decision="maybe"), 422, "/decision"),
        (await decide(stack, approval, edits={"research": 3}), 422, "/edits/research"),
        (await decide(stack, {**approval, "id": "2-gate"}), 404, "2-gate"),
        (await decide(stack, {**approval, "execution_id": "nobody"}), 404, "nobody"),
    ]
    for answer, code, says in answers:
        assert (answer.status_code, says in answer.text) == (code, True), answer.text


async def test_an_approval_of_an_execution_that_ended_is_withdrawn(stack: Stack) -> None:
    execution_id = await waiting(stack)
    cancelled = await stack.client.post(f"/v1/executions/{execution_id}/cancel", json={})
    path = f"/v1/executions/{execution_id}/approvals/1-gate"
    found = await stack.client.get(path, params={"after": cancelled.json()["position"]})
    assert found.json()["status"] == "withdrawn"


async def test_a_signal_that_is_sent_early_is_taken_when_its_time_comes(stack: Stack) -> None:
    execution_id = await waiting(stack)
    path = f"/v1/executions/{execution_id}/signals/reply"
    sent = await stack.client.post(path, json={"payload": {"text": "yes"}})
    assert sent.status_code == 202, sent.text
    await decide(stack, await pending(stack, execution_id))
    await run(stack, execution_id, "second", "write")
    found = await stack.client.get(f"/v1/executions/{execution_id}", params={"after": await stack.log.head()})
    assert (found.json()["status"], found.json()["output"]["structured"]) == ("COMPLETED", {"text": "yes"})


async def test_a_signal_that_nothing_waits_for_is_not_there(stack: Stack) -> None:
    execution_id = await waiting(stack)
    answer = await stack.client.post(f"/v1/executions/{execution_id}/signals/other", json={})
    assert (answer.status_code, "expected: reply" in answer.json()["detail"]) == (404, True)


async def test_a_repeat_of_a_decision_is_answered_as_the_first_time(stack: Stack) -> None:
    approval = await pending(stack, await waiting(stack))
    path = f"/v1/executions/{approval['execution_id']}/approvals/{approval['id']}"
    body = {"decision": "approve", "digest": approval["digest"], "comment": "fine"}
    headers = {"Idempotency-Key": f"decide-{approval['execution_id']}"}
    first = await stack.client.post(path, json=body, headers=headers)
    again = await stack.client.post(path, json=body, headers=headers)
    assert (first.status_code, again.status_code) == (202, 202)
    assert again.json()["position"] == first.json()["position"]
