"""What is loaded with nats-py, and what is not."""

from __future__ import annotations

import subprocess
import sys

import pytest

PROCESSES = ("up", "api", "loops", "runner")


@pytest.mark.parametrize("process", PROCESSES)
def test_no_process_loads_aiohttp_though_it_is_installed(process: str) -> None:
    check = f"import sys, interfaces.processes.{process}; assert 'aiohttp' not in sys.modules; import aiohttp"
    done = subprocess.run([sys.executable, "-c", check], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
