"""Outputs as large as they may be: read everywhere; and what is larger, from whoever, is refused in words."""

from __future__ import annotations

from typing import Any

import msgspec

from domain.execution import RecordProgress, StartStep, StepCompleted, TaskCompleted, TaskOutput
from infrastructure.crew.contents import MAX_ENCODED_BYTES, output_failure
from tests.interfaces.stack import SYSTEM, Stack
from tests.interfaces.test_http_approvals import STEPS, decide, pending

STEPS_TO_THE_END = {name: STEPS[name] for name in ("first", "gate", "second")}
LARGEST = TaskOutput("see the instance", {"body": 'a"b ' * ((MAX_ENCODED_BYTES - 100) // 5)})
TOO_MUCH = "x" * 300_000


async def run(stack: Stack, execution_id: str, step: str, task: str) -> None:
    at: dict[str, Any] = {"step": step, "attempt": 1}
    claim = StartStep(execution_id=execution_id, step=step, turn=1, delivery=1, runner="r")
    await stack.commands.handle(claim, SYSTEM)
    done = TaskCompleted(**at, task=task, output=LARGEST, duration_ms=1)
    report = RecordProgress(execution_id=execution_id, **at, after=0, entries=(done, StepCompleted(**at)))
    await stack.commands.handle(report, SYSTEM)


async def test_the_largest_instance_is_read_everywhere_and_whole_in_the_output(stack: Stack) -> None:
    assert output_failure("research", LARGEST) is None
    assert len(msgspec.json.encode(LARGEST)) > MAX_ENCODED_BYTES - 200
    execution_id = str((await stack.execution(await stack.workflow(steps=STEPS_TO_THE_END)))["id"])
    await run(stack, execution_id, "first", "research")
    approval = await pending(stack, execution_id)
    assert (await decide(stack, approval, approver="ann")).status_code == 202
    await run(stack, execution_id, "second", "write")
    after = await stack.log.head()
    path = f"/v1/executions/{execution_id}"
    version = len(await stack.log.read_stream(f"execution-{execution_id}"))
    for more in ("", "/history?limit=200", "/timeline", f"/state?version={version}", "/approvals/1-gate"):
        answer = await stack.client.get(f"{path}{more}", headers={"Kasal-After": str(after)})
        assert answer.status_code == 200, (more, answer.text)
    found = (await stack.client.get(path, params={"after": after})).json()
    assert found["status"] == "COMPLETED"
    assert found["output"]["structured"] == LARGEST.structured


async def test_an_edit_that_no_event_has_room_for_is_refused_and_the_approval_stays(stack: Stack) -> None:
    execution_id = str((await stack.execution(await stack.workflow(steps=STEPS_TO_THE_END)))["id"])
    await run(stack, execution_id, "first", "research")
    approval = await pending(stack, execution_id)
    refused = await decide(stack, approval, approver="ann", edits={"research": TOO_MUCH})
    assert refused.status_code == 422, refused.text
    (fault,) = refused.json()["errors"]
    assert fault["pointer"] == "/edits"
    assert "expected at most" in fault["message"]
    assert (await decide(stack, approval, approver="ann")).status_code == 202


async def test_a_fork_with_inputs_that_no_event_has_room_for_is_refused(stack: Stack) -> None:
    execution_id = str((await stack.execution())["id"])
    body = {"at": 1, "overrides": {"inputs": {"industry": TOO_MUCH}}}
    refused = await stack.client.post(f"/v1/executions/{execution_id}/fork", json=body)
    assert (refused.status_code, refused.json()["code"]) == (413, "too_large")
