"""Real processes for tests: `kasal up`, or one process each; started, killed, asked over HTTP.

Its one rule: whatever a test leaves running is killed with its group when the test ends.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import httpx

START_TIMEOUT_S = 60


def clean_environment(**settings: str) -> dict[str, str]:
    """This environment without what a developer may have set, and with the given KASAL_* settings."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("KASAL_")}
    return {**kept, "KASAL_DEMO_DELAY_S": "0", **settings}


class Process:
    """One `kasal` process in a group of its own; what it writes goes to a file."""

    def __init__(self, log_path: Path, *arguments: str, **settings: str) -> None:
        self.log_path = log_path
        with log_path.open("ab") as log:
            self.popen = subprocess.Popen(
                [sys.executable, "-m", "interfaces.cli", *arguments],
                stdout=log,
                stderr=log,
                env=clean_environment(**settings),
                start_new_session=True,
            )

    @property
    def words(self) -> str:
        return self.log_path.read_text(encoding="utf-8")

    def kill(self) -> None:
        """SIGKILL, now."""
        self.popen.kill()
        self.popen.wait()

    def stop(self, number: int = signal.SIGTERM, timeout_s: float = 40) -> int:
        """The exit code after a polite signal."""
        self.popen.send_signal(number)
        return self.popen.wait(timeout_s)

    def end(self) -> None:
        if self.popen.poll() is None:
            self.kill()


class Up(Process):
    """`kasal up` on a folder of its own."""

    def __init__(self, data_dir: Path, *options: str, **settings: str) -> None:
        data_dir.mkdir(parents=True, exist_ok=True)
        self.data_dir = data_dir
        (data_dir / "up.json").unlink(missing_ok=True)
        super().__init__(
            data_dir / "up.log", "up", "--data", str(data_dir), "--port", "0", *options, **settings
        )
        self.url = self._wait_for_url()
        self.client = reader(self.url)

    def _wait_for_url(self) -> str:
        deadline = time.monotonic() + START_TIMEOUT_S
        while time.monotonic() < deadline:
            if self.popen.poll() is not None:
                raise AssertionError(f"kasal up ended with {self.popen.returncode}:\n{self.words}")
            path = self.data_dir / "up.json"
            if path.exists() and (text := path.read_text(encoding="utf-8")):
                return str(json.loads(text)["url"])
            time.sleep(0.02)
        raise AssertionError(f"kasal up was not up within {START_TIMEOUT_S} s:\n{self.words}")

    def end(self) -> None:
        self.client.close()
        super().end()


def reader(url: str, headers: dict[str, str] | None = None) -> httpx.Client:
    """A client that asks for nothing older than it was told: each position goes with the next query."""
    seen = 0

    def tell(request: httpx.Request) -> None:
        if request.method == "GET" and seen and "after" not in request.url.params:
            request.headers.setdefault("Kasal-After", str(seen))

    def hear(response: httpx.Response) -> None:
        nonlocal seen
        seen = max(seen, int(response.headers.get("Kasal-Position", 0)))

    return httpx.Client(
        base_url=url, headers=headers, timeout=30, event_hooks={"request": [tell], "response": [hear]}
    )


def post(client: httpx.Client, path: str, body: object = None, **headers: str) -> dict[str, Any]:
    """The JSON answer of a command that must be accepted."""
    names = {name.replace("_", "-"): value for name, value in headers.items()}
    response = client.post(path, json=body if body is not None else {}, headers=names)
    assert response.status_code in (201, 202), response.text
    answer: dict[str, Any] = response.json()
    return answer


def get(client: httpx.Client, path: str) -> dict[str, Any]:
    """The JSON answer of a query that must be answered, once the read models have heard of what it names."""
    deadline = time.monotonic() + 60
    while (response := client.get(path)).status_code in (404, 503) and time.monotonic() < deadline:
        time.sleep(0.02)
    assert response.status_code == 200, response.text
    answer: dict[str, Any] = response.json()
    return answer


def wait_for_end(client: httpx.Client, execution_id: str, timeout_s: float = 60) -> dict[str, Any]:
    """The execution once its status is terminal."""
    deadline = time.monotonic() + timeout_s
    while time.monotonic() < deadline:
        try:
            response = client.get(f"/v1/executions/{execution_id}")
        except httpx.TransportError:
            time.sleep(0.05)
            continue
        if response.status_code == 200:
            execution: dict[str, Any] = response.json()
            if execution["status"] not in ("PENDING", "RUNNING"):
                return execution
        time.sleep(0.03)
    raise AssertionError(f"execution {execution_id} did not end within {timeout_s} s: {response.text}")


BLOG = {"workflow_id": "blog-production", "inputs": {"industry": "tea"}}
"""A start of the workflow that the seeds plant."""
