"""Answers of people over HTTP: what waits is shown with its id, and answered once."""

from __future__ import annotations

from typing import Any

import pytest

from application.commands import Context
from domain.execution import (
    Content,
    Progress,
    RecordProgress,
    StartStep,
    StepSuspended,
    ToolCallStarted,
    Wait,
)
from tests.interfaces.stack import Stack

RUNNER = Context(actor="runner:r")
CALL = "research~writer.1a2b3c4d:tool:0123456789abcdef:1"
ANSWER = {"Prefer": "wait=10"}


async def waiting(stack: Stack, wait: Wait) -> str:
    """An execution that waits for this."""
    started = await stack.execution()
    name = str(started["id"])
    claim = StartStep(execution_id=name, step="crew", turn=1, delivery=1, runner="r")
    await stack.commands.handle(claim, RUNNER)
    arguments = Content("d", 2, "{}")
    intent = ToolCallStarted(step="crew", attempt=1, call=CALL, tool="send", arguments=arguments)
    entries: list[Progress] = [intent, StepSuspended(step="crew", attempt=1, wait=wait)]
    for after, entry in enumerate(entries):
        report = RecordProgress(execution_id=name, step="crew", attempt=1, after=after, entries=(entry,))
        outcome = await stack.commands.handle(report, RUNNER)
    shown = await detail(stack, name, outcome.position)
    assert shown["status"] == "WAITING"
    return name


async def detail(stack: Stack, name: str, after: int) -> dict[str, Any]:
    answer = await stack.client.get(f"/v1/executions/{name}?after={after}")
    found: dict[str, Any] = answer.json()
    return found


async def test_a_call_that_nobody_knows_of_is_settled(stack: Stack) -> None:
    name = await waiting(stack, Wait(kind="unknown_outcome", id=CALL, message="Did this happen?"))
    path = f"/v1/executions/{name}/calls/{CALL}/outcome"
    large = "placed ☃ " * 10_000
    answer = await stack.client.post(path, json={"happened": {"result": large}}, headers=ANSWER)
    assert answer.status_code == 202, answer.text
    assert answer.json()["status"] == "PENDING"
    assert (await detail(stack, name, answer.json()["position"]))["waits"] == []
    timeline = (await stack.client.get(f"/v1/executions/{name}/timeline")).json()["items"]
    (call,) = (entry for entry in timeline if entry["kind"] == "tool_call")
    assert (call["status"], call["output"]["is_stored"]) == ("completed", True)
    assert (await stack.client.get(f"/v1/contents/{call['output']['digest']}")).text == large
    again = await stack.client.post(path, json={"did_not_happen": {}})
    assert (again.status_code, again.json()["code"]) == (409, "rejected")


async def test_calls_that_are_asked_about_together_are_settled_one_by_one(stack: Stack) -> None:
    name = await waiting(stack, Wait(kind="unknown_outcome", id=CALL, others=("other",)))
    answer = await stack.client.post(
        f"/v1/executions/{name}/calls/{CALL}/outcome", json={"did_not_happen": {}}
    )
    assert answer.json()["status"] == "WAITING"
    shown = await detail(stack, name, answer.json()["position"])
    assert [wait["id"] for wait in shown["waits"]] == ["other"]


async def test_an_output_is_reviewed(stack: Stack) -> None:
    name = await waiting(stack, Wait(kind="human_input", id="draft:review:1", message="A draft"))
    path = f"/v1/executions/{name}/reviews/draft:review:1"
    answer = await stack.client.post(path, json={"approved": False, "feedback": "Shorter"})
    assert (answer.status_code, answer.json()["status"]) == (202, "PENDING")
    assert (await stack.client.post(path, json={"approved": True})).status_code == 409


@pytest.mark.parametrize(
    ("path", "body", "pointer"),
    [
        (f"calls/{CALL}/outcome", {}, ""),
        (f"calls/{CALL}/outcome", {"happened": {"result": ""}, "failed": {}}, ""),
        (f"calls/{CALL}/outcome", {"happened": {}}, "/happened/result"),
        (f"calls/{CALL}/outcome", {"maybe": {}}, "/maybe"),
        ("reviews/draft:review:1", {"approved": False}, "/feedback"),
        ("reviews/draft:review:1", {"approved": True, "feedback": "Nice"}, "/feedback"),
        ("reviews/draft:review:1", {"approved": "yes"}, "/approved"),
    ],
)
async def test_a_wrong_answer_is_refused_by_its_field(
    stack: Stack, path: str, body: dict[str, object], pointer: str
) -> None:
    started = await stack.execution()
    answer = await stack.client.post(f"/v1/executions/{started['id']}/{path}", json=body)
    assert answer.status_code == 422, answer.text
    assert pointer in [fault["pointer"] for fault in answer.json()["errors"]]


async def test_what_nothing_waits_for_is_refused_and_what_never_was_is_not_found(stack: Stack) -> None:
    started = await stack.execution()
    approve = {"approved": True}
    cases = ((started["id"], "a:review:1", 409), (started["id"], "a%00", 404), ("no", "a", 404))
    for name, review, status in cases:
        answer = await stack.client.post(f"/v1/executions/{name}/reviews/{review}", json=approve)
        assert answer.status_code == status
