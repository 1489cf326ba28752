"""A schedule under three dispatchers: one run for each slot, also when one of them is killed."""

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


async def test_three_dispatchers_run_each_slot_once(tmp_path: Path) -> None:
    """Every minute in place of every night. No runner: a run gives way to the next."""
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
        path = f"/v1/schedules/{post(client, '/v1/schedules', {**PLAN, 'workflow_id': workflow_id})['id']}"
        await eventually(lambda: runs_of(services, path) >= 1, 90)
        services.kill("second")
        await eventually(lambda: runs_of(services, path) >= 2, 90)
        items = get(client, f"/v1/executions?workflow_id={workflow_id}&limit=50")["items"]
        ids = [row["id"] for row in items]
        assert len(ids) == len(set(ids)) == get(client, path)["runs"] == 2
        assert all(one.startswith(path.rpartition("/")[2]) for one in ids)
    finally:
        await services.end()


def runs_of(services: Services, path: str) -> int:
    response = services.client.get(path)
    return int(response.json()["runs"]) if response.status_code == 200 else 0
