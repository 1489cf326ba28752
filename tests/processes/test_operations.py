"""`kasal projections`, `kasal seed` and `kasal health` beside a running stack."""

from __future__ import annotations

import sqlite3
import subprocess
import sys
from collections.abc import Iterator

import pytest

from tests.processes.stack import BLOG, Up, clean_environment, post, wait_for_end


@pytest.fixture(scope="module")
def up(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Up]:
    """A stack that has run one workflow."""
    up = Up(tmp_path_factory.mktemp("stack") / "d")
    wait_for_end(up.client, post(up.client, "/v1/executions", BLOG)["id"])
    yield up
    up.end()


def kasal(up: Up, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "interfaces.cli", *arguments]
    environment = clean_environment(KASAL_DATA_DIR=str(up.data_dir))
    return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=100, check=False)


def test_every_read_model_is_listed_verified_and_rebuilt_beside_queries(up: Up) -> None:
    listed = kasal(up, "projections", "list")
    for name in ("execution_list", "execution_detail", "execution_history", "execution_timeline", "usage"):
        assert name in listed.stdout
    assert kasal(up, "projections", "verify").returncode == 0
    before = up.client.get("/v1/executions").content
    assert kasal(up, "projections", "rebuild").returncode == 0
    assert up.client.get("/v1/executions").content == before
    assert kasal(up, "projections", "verify").returncode == 0


def test_a_row_that_somebody_changed_is_found_and_mended(up: Up) -> None:
    with sqlite3.connect(up.data_dir / "read.db", timeout=10) as database:
        table = database.execute(
            "SELECT name FROM sqlite_master WHERE type = 'table' AND name LIKE 'execution_list%'"
        ).fetchone()[0]
        database.execute(f"UPDATE {table} SET doc = replace(doc, 'COMPLETED', 'FAILED')")
    found = kasal(up, "projections", "verify", "execution_list")
    assert found.returncode == 7
    assert "FAILED" in found.stdout
    assert kasal(up, "projections", "rebuild", "execution_list").returncode == 0
    assert kasal(up, "projections", "verify", "execution_list").returncode == 0


def test_seeding_a_running_stack_again_appends_nothing(up: Up) -> None:
    done = kasal(up, "seed", "models", "workflows")
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("of which 0 planted") == 2


def test_health_tells_the_living_from_the_dead(up: Up) -> None:
    assert kasal(up, "health", "up").returncode == 0
    assert kasal(up, "health", "relay").returncode == 6


def test_a_path_that_is_no_read_model_is_named(up: Up) -> None:
    done = kasal(up, "projections", "rebuild", "nothing")
    assert done.returncode == 2
    assert "nothing" in done.stderr
