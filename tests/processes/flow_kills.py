"""A flow whose dispatcher, runners and JetStream are killed between its steps.

It waits for a signal, for two people and for a time, joins by `any`, and maps. Used by `test_random_kills`,
whose installation it kills. Its one rule: between two steps nobody is at work, so that whatever runs twice
afterwards was repeated for no reason.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Sequence
from typing import Any

import httpx
import msgspec

from domain.execution import (
    ApprovalGiven,
    ExecutionCompleted,
    ExecutionRequested,
    StepResolved,
    StepScheduled,
    StepStarted,
    TaskCompleted,
)
from domain.message import Recorded
from domain.registry import event_of
from infrastructure.nats.connection import Connection
from infrastructure.nats.subjects import TIMERS
from tests.processes.services import Services
from tests.processes.stack import get, post
from tests.waiting import eventually

CREWS = ("one", "two", "first", "last")
ITEMS = ("each--0", "each--1", "each--2")
PATIENCE_S = 120.0

FLOW: dict[str, Any] = {
    "name": "Between steps",
    "agents": {"worker": {"role": "Worker", "goal": "Work", "backstory": "Works", "model": "demo/small"}},
    "tasks": {
        name: {"agent": "worker", "description": "Work", "expected_output": "work", "context": []}
        for name in (*CREWS, "each")
    },
    "steps": {
        "one": {"crew": {"tasks": ["one"]}},
        "hold": {"signal": {}, "after": ["one"]},
        "two": {"crew": {"tasks": ["two"]}, "after": ["hold"]},
        "gate": {"approval": {"message": "Go on?", "approvals": 2}, "after": ["two"]},
        "first": {"crew": {"tasks": ["first"]}, "after": {"any": ["gate", "two"]}},
        "many": {"map": {"over": "['a', 'b', 'c']", "tasks": ["each"], "max_parallel": 2}, "after": ["gate"]},
        "rest": {"wait": {"for_s": 4}, "after": ["two"]},
        "last": {"crew": {"tasks": ["last"]}, "after": ["many", "rest", "first"]},
    },
}


async def flow_between_kills(services: Services, connection: Connection, runners: Sequence[str]) -> str:
    """Runs the flow; whoever could go on with it is dead each time that a step has come to its end, and a
    timer that was set is lost with its store."""
    workers = ("dispatcher", *runners)
    execution_id = str(post(services.client, "/v1/executions", {"definition": FLOW, "inputs": {}})["id"])
    await at_rest(services, execution_id, "signal")
    kill(services, workers)
    post(services.client, f"/v1/executions/{execution_id}/signals/hold", {"payload": "go"})
    for name in workers:
        services.start(name)
    await at_rest(services, execution_id, "approval")
    await eventually(lambda: has_timers(connection), PATIENCE_S)
    kill(services, workers)
    await approve_at_once(services, execution_id)
    await services.kill_nats(wipe=True)
    await services.nats.start_again()
    for name in workers:
        services.start(name)
    return execution_id


def kill(services: Services, names: Sequence[str]) -> None:
    for name in names:
        services.kill(name)


async def has_timers(connection: Connection) -> bool:
    answer = await connection.request(f"$JS.API.STREAM.INFO.{TIMERS}", b"", timeout=5)
    return bool(msgspec.json.decode(answer.data)["state"]["messages"] > 0)


async def at_rest(services: Services, execution_id: str, kind: str) -> None:
    """It waits for that, and nothing of it is under way."""

    def is_waiting() -> bool:
        found = get(services.client, f"/v1/executions/{execution_id}")
        return found["status"] == "WAITING" and kind in [wait["kind"] for wait in found["waits"]]

    await eventually(is_waiting, PATIENCE_S)


async def approve_at_once(services: Services, execution_id: str) -> None:
    """Twenty decisions of two people in the same moment: one of each counts."""
    query = f"/v1/approvals?status=pending&execution_id={execution_id}"
    [approval] = get(services.client, query)["items"]
    path = f"/v1/executions/{execution_id}/approvals/{approval['id']}"
    async with httpx.AsyncClient(base_url=services.url, timeout=30) as client:
        answers = await asyncio.gather(
            *(
                client.post(path, json={"decision": "approve", "digest": approval["digest"], "approver": who})
                for who in ("ada", "bob") * 10
            )
        )
    assert Counter(answer.status_code for answer in answers) == {202: 2, 409: 18}


def assert_nothing_was_repeated(events: Sequence[Recorded], execution_id: str) -> None:
    own = [event_of(event) for event in events if event.entity_id == execution_id]
    assert isinstance(own[0], ExecutionRequested)
    assert isinstance(own[-1], ExecutionCompleted)
    for kind in (StepScheduled, StepStarted):
        assert Counter(event.step for event in own if isinstance(event, kind)) == Counter(
            [*CREWS, *(f"many--{number}" for number in range(3))]
        )
    done = Counter(event.task for event in own if isinstance(event, TaskCompleted))
    assert done == Counter([*CREWS, *ITEMS])
    resolved = Counter(event.step for event in own if isinstance(event, StepResolved))
    assert resolved == Counter(["hold", "gate", "many", "rest"])
    assert Counter(event.by for event in own if isinstance(event, ApprovalGiven)) == {"ada": 1, "bob": 1}
    began = [event.step for event in own if isinstance(event, StepScheduled)]
    assert began.index("first") < began.index("many--0"), "the any-join waited for all"
