"""`kasal up` and `kasal demo` as a newcomer uses them."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.processes.stack import BLOG, Up, clean_environment, get, post, wait_for_end
from tests.waiting import eventually

KASAL = (sys.executable, "-m", "interfaces.cli")


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[list[Up]]:
    """The stacks of a test; whatever still runs is killed afterwards."""
    started: list[Up] = []
    yield started
    for up in started:
        up.end()


def test_the_demo_runs_a_workflow_to_its_end(tmp_path: Path) -> None:
    command = [*KASAL, "demo", "--data", str(tmp_path / "d"), "--industry", "tea"]
    done = subprocess.run(
        command, env=clean_environment(), capture_output=True, text=True, timeout=100, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    for words in (
        "task research",
        "task draft",
        "task edit",
        "tokens",
        "$",
        "completed",
        "Result",
        "/history",
    ):
        assert words in done.stdout


def test_everything_is_found_again_after_a_restart(tmp_path: Path, folder: list[Up]) -> None:
    folder.append(first := Up(tmp_path / "d"))
    execution = wait_for_end(first.client, post(first.client, "/v1/executions", BLOG)["id"])
    assert execution["status"] == "COMPLETED"
    history = get(first.client, f"/v1/executions/{execution['id']}/history")
    assert first.stop() == 0
    folder.append(second := Up(tmp_path / "d", "--runners", "0"))
    again = get(second.client, f"/v1/executions/{execution['id']}/history?after={execution['position']}")
    assert again == history


def test_ctrl_c_stops_in_order_and_leaves_no_process(tmp_path: Path, folder: list[Up]) -> None:
    folder.append(up := Up(tmp_path / "d"))
    assert up.stop(signal.SIGINT) == 0
    left = subprocess.run(
        ["pgrep", "-f", str(tmp_path)], capture_output=True, text=True, check=False
    ).stdout.split()
    assert [pid for pid in left if int(pid) != os.getpid()] == []


async def test_after_sigkill_no_child_lives_on_and_work_goes_on_at_the_next_start(
    tmp_path: Path, folder: list[Up]
) -> None:
    folder.append(first := Up(tmp_path / "d", KASAL_DEMO_DELAY_S="0.05"))
    execution_id = post(first.client, "/v1/executions", BLOG)["id"]
    await eventually(lambda: "execution.task_started" in first.client.get(history(execution_id)).text, 60)
    first.kill()
    await eventually(lambda: not pids_with(str(tmp_path)))
    folder.append(second := Up(tmp_path / "d"))
    execution = wait_for_end(second.client, execution_id)
    assert execution["status"] == "COMPLETED"
    events = get(second.client, history(execution_id) + "?limit=200")["items"]
    assert [event["version"] for event in events] == list(range(1, len(events) + 1))
    attempts = [event["data"]["attempt"] for event in events if event["type"] == "execution.step_started"]
    assert attempts == [1, 2]


def history(execution_id: str) -> str:
    return f"/v1/executions/{execution_id}/history"


def pids_with(text: str) -> list[str]:
    """Processes whose environment or command line names a folder."""
    found = []
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit() or int(entry.name) == os.getpid():
            continue
        try:
            said = (entry / "cmdline").read_bytes() + (entry / "environ").read_bytes()
        except OSError:
            continue
        if text.encode() in said:
            found.append(entry.name)
    return found


async def test_a_runner_that_is_killed_is_replaced_and_no_completed_call_is_paid_again(
    tmp_path: Path, folder: list[Up]
) -> None:
    folder.append(up := Up(tmp_path / "d", KASAL_DEMO_DELAY_S="0.05", KASAL_LEASE_S="2"))
    execution_id = post(up.client, "/v1/executions", BLOG)["id"]
    await eventually(lambda: "execution.task_completed" in up.client.get(history(execution_id)).text, 60)
    events = get(up.client, history(execution_id))["items"]
    runner = next(event["data"]["runner"] for event in events if event["type"] == "execution.step_started")
    os.kill(int(runner.rpartition("-")[2]), signal.SIGKILL)
    assert wait_for_end(up.client, execution_id)["status"] == "COMPLETED"
    events = get(up.client, history(execution_id) + "?limit=200")["items"]
    paid = [event["data"]["call"] for event in events if event["type"] == "execution.model_call_completed"]
    assert len(paid) == len(set(paid)) == 3


async def test_cancelling_takes_less_than_the_next_model_call(tmp_path: Path, folder: list[Up]) -> None:
    folder.append(up := Up(tmp_path / "d", KASAL_DEMO_DELAY_S="2"))
    execution_id = post(up.client, "/v1/executions", BLOG)["id"]
    await eventually(lambda: "model_call_started" in up.client.get(history(execution_id)).text, 60)
    position = post(up.client, f"/v1/executions/{execution_id}/cancel", {"reason": "enough"})["position"]
    execution = get(up.client, f"/v1/executions/{execution_id}?after={position}")
    assert execution["status"] == "CANCELLED"
    again = post(up.client, "/v1/executions", BLOG)
    path = f"/v1/executions/{again['id']}?after={again['position']}"
    await eventually(lambda: get(up.client, path)["status"] == "RUNNING", 30)


def test_a_second_stack_on_the_same_folder_is_refused(tmp_path: Path, folder: list[Up]) -> None:
    folder.append(Up(tmp_path / "d", "--runners", "0"))
    command = [*KASAL, "up", "--data", str(tmp_path / "d"), "--port", "0"]
    second = subprocess.run(
        command, env=clean_environment(), capture_output=True, text=True, timeout=60, check=False
    )
    assert second.returncode == 4
    assert "another one runs on" in second.stderr


def test_beyond_loopback_a_token_is_demanded(tmp_path: Path) -> None:
    command = [*KASAL, "up", "--data", str(tmp_path / "d"), "--host", "0.0.0.0"]  # noqa: S104
    done = subprocess.run(
        command, env=clean_environment(), capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 2
    assert "KASAL_API_TOKEN" in done.stderr


def test_help_answers_without_loading_the_house() -> None:
    code = (
        "import sys, interfaces.cli as cli\n"
        "cli.kasal.main(['--help'], standalone_mode=False)\n"
        "print(sorted(sys.modules))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True
    )
    for heavy in ("'litestar'", "'sqlalchemy'", "'crewai'", "'litellm'", "'nats'", "'psycopg'"):
        assert heavy not in done.stdout


def test_the_api_process_stays_small(tmp_path: Path, folder: list[Up]) -> None:
    folder.append(up := Up(tmp_path / "d", "--runners", "0"))
    for _ in range(50):
        post(up.client, "/v1/executions", BLOG)
    status = Path(f"/proc/{up.popen.pid}/status").read_text(encoding="utf-8")
    resident_kb = int(next(line for line in status.splitlines() if line.startswith("VmRSS")).split()[1])
    assert resident_kb < 150_000
    loaded = Path(f"/proc/{up.popen.pid}/maps").read_text(encoding="utf-8")
    assert "uvloop" in loaded
    assert "pydantic_core" not in loaded, "it is crews'"
    assert "aiohttp" not in loaded, "it is litellm's"


def test_config_check_names_every_fault() -> None:
    environment = clean_environment(KASAL_POTR="1", KASAL_LEASE_S="none")
    done = subprocess.run(
        [*KASAL, "config", "check"], env=environment, capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 2
    assert "KASAL_POTR" in done.stderr
    assert "KASAL_LEASE_S" in done.stderr


def test_settings_are_shown_without_secrets() -> None:
    environment = clean_environment(
        KASAL_API_TOKEN="canary-canary-canary",
        KASAL_LOG_URL="postgresql://u:canary@h/db",
        KASAL_NATS_URL="nats://u:canary@h",
    )
    done = subprocess.run(
        [*KASAL, "config", "show"], env=environment, capture_output=True, text=True, timeout=60, check=True
    )
    assert "canary" not in done.stdout
    assert json.dumps("postgresql://********@h/db").strip('"') in done.stdout
