"""`kasal audit` and `kasal retention` beside a running stack: proofs, changes that are found, archives."""

from __future__ import annotations

import hashlib
import json
import shutil
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

import httpx
import pytest
from click.testing import CliRunner, Result

from interfaces.cli import kasal as cli
from interfaces.operations.archiving import Archiver
from tests.processes.stack import BLOG, Up, clean_environment, get, post, wait_for_end


@pytest.fixture(scope="module")
def up(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Up]:
    """A stack that has run one workflow."""
    up = Up(tmp_path_factory.mktemp("stack") / "d", KASAL_CHECKPOINT_S="1")
    yield up
    up.end()


@pytest.fixture(scope="module")
def execution_id(up: Up) -> str:
    started: str = post(up.client, "/v1/executions", BLOG)["id"]
    wait_for_end(up.client, started)
    return started


def kasal(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "interfaces.cli", *arguments]
    environment = clean_environment(KASAL_DATA_DIR=str(folder))
    return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=100, check=False)


def test_a_bundle_is_checked_where_nothing_but_the_key_is_known(
    up: Up, execution_id: str, tmp_path: Path
) -> None:
    file = tmp_path / "bundle"
    written = kasal(up.data_dir, "audit", "bundle", execution_id, "-o", str(file))
    assert written.returncode == 0, written.stderr
    key = kasal(up.data_dir, "audit", "key").stdout.strip()
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    checked = kasal(elsewhere, "audit", "verify", str(file), "--key", key)
    assert (checked.returncode, "sound" in checked.stdout) == (0, True), checked.stderr
    assert kasal(elsewhere, "audit", "verify", str(file)).returncode == 2

    head, first, *rest = file.read_bytes().splitlines(keepends=True)
    event = json.loads(first)
    event["tag"] = "execution.completed"
    file.write_bytes(b"".join([head, json.dumps(event).encode() + b"\n", *rest]))
    refused = kasal(elsewhere, "audit", "verify", str(file), "--key", key)
    assert refused.returncode == 7
    assert f"position {event['position']}: the event is not the one that was signed" in refused.stdout
    stranger = kasal(elsewhere, "audit", "key", "--new").stdout.rpartition("public: ")[2].strip()
    assert kasal(elsewhere, "audit", "verify", str(file), "--key", stranger).returncode == 7


def test_the_whole_log_is_walked_and_a_change_is_named(up: Up, execution_id: str, tmp_path: Path) -> None:
    witness = tmp_path / "checkpoint"
    witness.write_text(kasal(up.data_dir, "audit", "checkpoint").stdout, encoding="utf-8")
    walked = kasal(up.data_dir, "audit", "verify", "--checkpoint", str(witness))
    assert walked.returncode == 0, walked.stdout + walked.stderr
    proof = kasal(up.data_dir, "audit", "prove", "1")
    assert json.loads(proof.stdout)["position"] == 1
    size = json.loads(proof.stdout)["size"]
    assert json.loads(kasal(up.data_dir, "audit", "consistency", str(size)).stdout)["from"] == size

    copy = tmp_path / "copy"
    copy.mkdir()
    shutil.copy(up.data_dir / "audit.key", copy)
    with sqlite3.connect(up.data_dir / "log.db") as source, sqlite3.connect(copy / "log.db") as target:
        source.backup(target)
    assert kasal(copy, "audit", "verify").returncode == 0
    with sqlite3.connect(copy / "log.db") as database:
        database.execute("UPDATE kasal_events SET metadata = metadata || ' ' WHERE notification_id = 7")
    found = kasal(copy, "audit", "verify", "--checkpoint", str(witness))
    assert found.returncode == 7
    assert "position 7: the event is not the one that was signed" in found.stdout


def test_an_execution_is_played_again_as_it_was(up: Up, execution_id: str) -> None:
    history = up.client.get(f"/v1/executions/{execution_id}/history?limit=200").json()["items"]
    played = kasal(up.data_dir, "replay", execution_id, "--json")
    assert [json.loads(line) for line in played.stdout.splitlines()] == history
    until = kasal(up.data_dir, "replay", execution_id, "--json", "--until", "execution.task_started")
    assert json.loads(until.stdout.splitlines()[-1])["type"] == "execution.task_started"
    assert "COMPLETED" in kasal(up.data_dir, "replay", execution_id, "--speed", "1000").stdout
    assert kasal(up.data_dir, "replay", "nobody").returncode == 3
    assert kasal(up.data_dir, "replay", execution_id, "--until", "2026-01-01T00:00").returncode == 2


def test_past_executions_are_run_again_with_another_model(up: Up, execution_id: str) -> None:
    done = kasal(up.data_dir, "whatif", "--cohort", "blog-production", "--model", "demo/large", "--json")
    assert done.returncode == 0, done.stdout + done.stderr
    (asked,) = [json.loads(line) for line in done.stdout.splitlines()]
    assert (asked["execution_id"], asked["status"]) == (execution_id, "COMPLETED")
    assert asked["diff"]["right"]["spent"]["model_calls"] == asked["diff"]["left"]["spent"]["model_calls"]
    assert "/definition/agents" in str(asked["diff"]["request"])
    shown = kasal(up.data_dir, "whatif", execution_id)
    assert (shown.returncode, "1 executions" in shown.stdout) == (0, True), shown.stdout + shown.stderr
    assert kasal(up.data_dir, "whatif", execution_id, "--model", "nobody/nothing").returncode == 2
    assert kasal(up.data_dir, "whatif").returncode == 2


def test_an_exported_log_is_imported_and_held_to_an_old_checkpoint(
    up: Up, execution_id: str, tmp_path: Path
) -> None:
    witness, file, key = tmp_path / "checkpoint", tmp_path / "log", tmp_path / "key"
    witness.write_text(kasal(up.data_dir, "audit", "checkpoint").stdout, encoding="utf-8")
    key.write_text(kasal(up.data_dir, "audit", "key").stdout, encoding="utf-8")
    assert kasal(up.data_dir, "history", "export", "-o", str(file)).returncode == 0
    assert kasal(up.data_dir, "history", "import", str(file)).returncode == 4
    copy = tmp_path / "copy"
    imported = kasal(copy, "history", "import", str(file))
    assert imported.returncode == 0, imported.stderr
    held = kasal(copy, "audit", "verify", "--checkpoint", str(witness), "--key", str(key))
    assert (held.returncode, "1 checkpoints hold" in held.stdout) == (0, True), held.stdout
    assert kasal(copy, "history", "import", str(file)).returncode == 4
    one = kasal(up.data_dir, "history", "export", execution_id)
    assert json.loads(one.stdout.splitlines()[0])["type"] == "io.kasal.execution.requested"


def test_what_nobody_has_is_told_with_its_exit_code(up: Up, tmp_path: Path) -> None:
    assert kasal(up.data_dir, "audit", "bundle", "nobody", "-o", str(tmp_path / "x")).returncode == 3
    assert kasal(up.data_dir, "audit", "prove", "1000000").returncode == 3
    assert not (tmp_path / "x").exists()


class Broken(Exception):
    """Where a run is killed."""


@pytest.fixture
def another(up: Up) -> str:
    started: str = post(up.client, "/v1/executions", BLOG)["id"]
    wait_for_end(up.client, started)
    return started


def told(up: Up, *arguments: str) -> Result:
    """`kasal`, in this process."""
    return CliRunner().invoke(cli, arguments, env=clean_environment(KASAL_DATA_DIR=str(up.data_dir)))


def killed_when(up: Up, hook: Literal["request", "response"]) -> httpx.Client:
    """A client that dies at the archive command: before it is sent, or before its answer is read."""

    def die(message: httpx.Request | httpx.Response) -> None:
        request = message if isinstance(message, httpx.Request) else message.request
        if request.method == "POST":
            raise Broken

    return httpx.Client(base_url=up.url, timeout=30, event_hooks={hook: [die]})


def listed(up: Up, execution_id: str, *, archived: bool, version: int = 0) -> dict[str, Any]:
    """The execution as the list has it, once it is there."""
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        query = f"/v1/executions?limit=200&archived={str(archived).lower()}"
        for item in up.client.get(query).json()["items"]:
            if item["id"] == execution_id and item["version"] >= version:
                found: dict[str, Any] = item
                return found
        time.sleep(0.05)
    raise AssertionError(f"{execution_id} is not in the list")


def check_files(folder: Path, archive: dict[str, Any]) -> Path:
    """Those on the disk are those that the log speaks of, and none is half written; where the proof is."""
    assert archive["place"] == str(folder)
    for file in archive["files"]:
        stored = (folder / file["name"]).read_bytes()
        assert (hashlib.sha256(stored).hexdigest(), len(stored)) == (file["sha256"], file["size_bytes"])
    assert not list(folder.glob("*/.*"))
    names = [file["name"] for file in archive["files"]]
    assert sorted(names) == sorted(
        str(path.relative_to(folder)) for path in folder.glob(f"*/{names[0][8:44]}*")
    )
    return next(folder.glob(f"*/{names[0][8:44]}.audit.ndjson"))


def test_an_archive_run_that_is_killed_anywhere_is_gone_on_with(
    up: Up, execution_id: str, another: str, tmp_path: Path
) -> None:
    folder = tmp_path / "archive"
    for each, hook in ((another, "request"), (execution_id, "response")):
        one = listed(up, each, archived=False)
        client = killed_when(up, hook)  # type: ignore[arg-type]
        with client, Archiver(client, folder).alone() as archiver, pytest.raises(Broken):
            archiver.archive(one)
    (folder / "2026-01").mkdir()
    (folder / "2026-01" / ".x.ndjson.part").write_bytes(b"half")
    arguments = ("retention", "archive", "--older-than", "0s", "--to", str(folder))
    run = told(up, *arguments)
    assert run.exit_code == 0, run.output
    key = told(up, "audit", "key").output.strip()
    for each in (another, execution_id):
        proof = check_files(folder, listed(up, each, archived=True)["archive"])
        checked = told(up, "audit", "verify", str(proof), "--key", key)
        assert (checked.exit_code, "sound" in checked.output) == (0, True), checked.output
    again = told(up, *arguments)
    assert "0 executions archived" in again.output, again.output
    for name in ("execution_list", "execution_history", "execution_timeline", "usage"):
        verified = told(up, "projections", "verify", name)
        assert verified.exit_code == 0, verified.output
    with Archiver(up.client, folder).alone():
        assert told(up, *arguments).exception


def test_what_was_archived_says_where_it_went_and_is_played_from_its_file(
    up: Up, another: str, tmp_path: Path
) -> None:
    history = get(up.client, f"/v1/executions/{another}/history?limit=200")["items"]
    would = told(up, "cleanup", "--older-than", "0s", "--dry-run").output
    assert another in would
    assert "0 contents that no event names (0 bytes) would be removed" in would
    dropped = told(up, "cleanup", "--older-than", "0s")
    assert dropped.exit_code == 0, dropped.output
    assert "0 contents that no event names (0 bytes) removed" in dropped.output
    assert not listed(up, another, archived=True)["archive"]["files"]
    run = told(up, "retention", "archive", "--older-than", "0s", "--to", str(tmp_path), "--dropped")
    assert run.exit_code == 0, run.output
    item = listed(up, another, archived=True, version=len(history) + 2)
    check_files(tmp_path, item["archive"])
    gone = up.client.get(f"/v1/executions/{another}")
    assert (gone.status_code, gone.json()["code"]) == (410, "archived")
    assert str(tmp_path) in gone.json()["detail"]
    (file,) = tmp_path.glob(f"*/{another}.ndjson")
    played = told(up, "replay", str(file), "--json")
    assert played.exit_code == 0, played.exception
    lines = [json.loads(line) for line in played.output.splitlines()]
    assert lines[: len(history)] == history
    assert [line["type"] for line in lines[len(history) :]] == ["execution.archived"]
    assert up.client.post(f"/v1/executions/{another}/fork", json={"at": 1}).status_code == 201
    assert told(up, "cleanup", "--keys-older-than", "1h").exit_code == 2
