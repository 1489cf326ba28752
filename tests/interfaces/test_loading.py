"""What a start loads, and what it does not: each of these takes a twentieth of it or more."""

from __future__ import annotations

import subprocess
import sys

CHECK = """
import sys
from interfaces.loading import load_structlog
load_structlog()
import interfaces.processes.up
assert not {"rich", "psycopg"} & set(sys.modules), "loaded"
import rich.console, structlog
structlog.get_logger().info("works")
"""


def test_up_on_sqlite_loads_neither_rich_nor_psycopg() -> None:
    done = subprocess.run([sys.executable, "-c", CHECK], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_a_runner_loads_nothing_of_a_database() -> None:
    check = """
import sys
import interfaces.processes.runner
assert not {"sqlalchemy", "psycopg", "projections", "litestar", "infrastructure.wiring"} & set(sys.modules)
"""
    done = subprocess.run([sys.executable, "-c", check], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
