"""`kasal audit` beside a running stack: bundles, proofs, the walk over the log, a change that is found."""

from __future__ import annotations

import json
import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.processes.stack import BLOG, Up, clean_environment, post, wait_for_end


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
