"""Three dispatchers: one run for each slot of a schedule, one child for each step, though they are killed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tests.processes.services import Services
from tests.processes.stack import Process, get, post
from tests.waiting import eventually

LOAD: dict[str, Any] = {
    "name": "Nightly load",
    "agents": {"clerk": {"role": "Clerk", "goal": "Load", "backstory": "Careful", "model": "demo/small"}},
    "tasks": {"load": {"agent": "clerk", "description": "Load the data", "expected_output": "a count"}},
}
PLAN = {"name": "Nightly", "cron": "* * * * *", "overlap": "cancel", "catch_up": "all"}


async def test_three_dispatchers_run_each_slot_and_each_child_once(tmp_path: Path) -> None:
    """Every minute in place of every night, three plans at once. No runner: a run gives way to the next."""
    databases = {
        "KASAL_LOG_URL": f"sqlite:///{tmp_path / 'log.db'}",
        "KASAL_READ_URL": f"sqlite:///{tmp_path / 'read.db'}",
    }
    services = await Services.start_all(tmp_path, databases, {})
    try:
        for name in ("second", "third"):
            settings = {**services._settings, "KASAL_DATA_DIR": str(tmp_path / name)}
            services.processes[name] = Process(tmp_path / f"{name}.log", "dispatcher", **settings)
        client = services.client
        client.put("/v1/models/demo/small", json={}).raise_for_status()
        workflow_id = post(client, "/v1/workflows", LOAD)["id"]
        plans = [post(client, "/v1/schedules", {**PLAN, "workflow_id": workflow_id})["id"] for _ in range(3)]
        await eventually(lambda: min(runs_of(services, plan) for plan in plans) >= 1, 100)
        services.kill("second")
        for plan in plans:
            off = {**PLAN, "workflow_id": workflow_id, "enabled": False}
            client.put(f"/v1/schedules/{plan}", json=off).raise_for_status()
        await eventually(lambda: has_one_run_each(services, workflow_id, plans), 30)
        await check_child(services, workflow_id)
    finally:
        await services.end()


def has_one_run_each(services: Services, workflow_id: str, plans: list[str]) -> bool:
    """One execution for each slot and plan, by its id, and no other."""
    runs = {plan: runs_of(services, plan) for plan in plans}
    items = get(services.client, f"/v1/executions?workflow_id={workflow_id}&limit=50")["items"]
    started = {plan: sum(row["id"].startswith(plan) for row in items) for plan in plans}
    assert len({row["id"] for row in items}) == len(items)
    return started == runs and sum(started.values()) == len(items)


async def check_child(services: Services, workflow_id: str) -> None:
    """Two dispatchers begin one; it ends while all are dead, and its parent goes on once."""
    client, step = services.client, {"workflow_id": workflow_id, "on_cancel": "continue"}
    steps = {"sub": {"workflow": step}, "rest": {"wait": {"for_s": 1}, "after": ["sub"]}}
    parent_id = post(client, "/v1/executions", {"definition": {"name": "Outer", "steps": steps}})["id"]
    children = f"/v1/executions?parent={parent_id}"
    await eventually(lambda: len(get(client, children)["items"]) == 1, 60)
    for name in ("dispatcher", "third"):
        services.kill(name)
    [child] = get(client, children)["items"]
    post(client, f"/v1/executions/{child['id']}/cancel")
    assert get(client, f"/v1/executions/{parent_id}")["status"] == "WAITING"
    await services.start_again(["dispatcher"])
    await eventually(lambda: get(client, f"/v1/executions/{parent_id}")["status"] == "COMPLETED", 90)
    history = get(client, f"/v1/executions/{parent_id}/history")["items"]
    ended = [entry["data"]["status"] for entry in history if entry["type"] == "execution.child_ended"]
    assert ended == ["cancelled"]
    assert [row["id"] for row in get(client, children)["items"]] == [child["id"]]


def runs_of(services: Services, plan: str) -> int:
    response = services.client.get(f"/v1/schedules/{plan}")
    return int(response.json()["runs"]) if response.status_code == 200 else 0
