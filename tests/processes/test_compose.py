"""The services of docker-compose.yml, started by hand: the same commands with the same environment.

There is no container engine in a test; what is replaced is where the database, NATS and the data folder are.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml

from infrastructure.nats.server import NatsServer, free_port
from infrastructure.settings import Settings
from tests.nats_servers import crash
from tests.processes.stack import BLOG, Process, get, post, reader, wait_for_end
from tests.waiting import eventually

ROOT = Path(__file__).parent.parent.parent
COMPOSE: dict[str, Any] = yaml.safe_load((ROOT / "docker-compose.yml").read_text(encoding="utf-8"))
TOKEN = "a-token-of-the-test"
VARIABLE = re.compile(r"\$\{(\w+)(?::([?+-])([^}]*))?\}")
KASAL_SERVICES = [
    name for name, service in COMPOSE["services"].items() if service["image"].startswith("kasal")
]

Start = Callable[[str], Process]


@pytest.fixture
def start(tmp_path: Path, postgres_url: str, nats_url: str) -> Iterator[Start]:
    """Starts a service by its name in the file. Whoever waited for the end of a lease would miss every
    deadline; a crew takes some seconds."""
    port = str(free_port())
    started: list[Process] = []

    def start_service(name: str) -> Process:
        service = COMPOSE["services"][name]
        settings = {key: filled(str(value)) for key, value in service["environment"].items()}
        settings |= {"KASAL_DATA_DIR": str(tmp_path / name)}
        settings |= {key: postgres_url for key in settings if key in ("KASAL_LOG_URL", "KASAL_READ_URL")}
        settings |= {"KASAL_NATS_URL": nats_url} if "KASAL_NATS_URL" in settings else {}
        settings |= {"KASAL_PORT": port, "KASAL_HOST": "127.0.0.1"} if "KASAL_PORT" in settings else {}
        settings |= {"KASAL_LEASE_S": "600"} if "KASAL_LEASE_S" in settings else {}
        settings |= {"KASAL_DEMO_DELAY_S": "0.08"} if name == "runner" else {}
        process = Process(tmp_path / f"{name}.log", *service["command"], **settings)
        started.append(process)
        return process

    yield start_service
    for process in started:
        process.end()


def filled(value: str) -> str:
    secrets = {
        "KASAL_API_TOKEN": TOKEN,
        "POSTGRES_PASSWORD": "p",
        "NATS_PASSWORD": "n",
        "KASAL_WEBHOOK_KEY": "k" * 32,
        "KASAL_ENCRYPTION_KEY": "k" * 43,
    }

    def chosen(match: re.Match[str]) -> str:
        given = secrets.get(match[1], "")
        if match[2] == "+":
            return match[3] if given else ""
        return given or (match[3] if match[2] == "-" else "")

    return VARIABLE.sub(chosen, value)


def client_of(process: Process) -> httpx.Client:
    """A client with the token, for the address that the API's log names."""
    found = re.search(r'"url": "([^"]+)"', process.words)
    assert found
    return reader(found[1], {"Authorization": f"Bearer {TOKEN}"})


async def test_the_services_run_a_workflow_together_and_go_on_with_it_at_once_after_the_end_of_everything(
    start: Start, own_nats_server: NatsServer
) -> None:
    assert start("init").popen.wait(60) == 0
    processes = {name: start(name) for name in KASAL_SERVICES if name != "init"}
    await eventually(lambda: '"url"' in processes["api"].words, 90)
    with client_of(processes["api"]) as client:
        await eventually(lambda: client.get("/readyz").status_code == 200, 90)
        execution = wait_for_end(client, post(client, "/v1/executions", BLOG, Prefer="wait=20")["id"], 90)
        assert execution["status"] == "COMPLETED"
        assert len(get(client, "/v1/models")["items"]) >= 6
        path = f"/v1/executions/{post(client, '/v1/executions', BLOG)['id']}"
        await eventually(lambda: "model_call_started" in client.get(f"{path}/history").text, 60)
        for process in processes.values():
            process.kill()
        await crash(own_nats_server)
        await own_nats_server.start_again()
        processes = {name: start(name) for name in processes}
        await eventually(lambda: '"url"' in processes["api"].words, 90)
        execution = wait_for_end(client, path.rpartition("/")[2], 90)
        assert (execution["status"], execution["steps"][0]["attempt"]) == ("COMPLETED", 2)
    for name, process in processes.items():
        assert process.stop() == 0, f"{name}:\n{process.words}"


async def test_a_service_says_what_it_lacks(start: Start) -> None:
    api = start("api")
    assert api.popen.wait(60) == 6
    assert "kasal migrate" in api.words


def test_every_service_has_a_health_check() -> None:
    for name, service in COMPOSE["services"].items():
        assert name == "init" or service["healthcheck"]["test"], name


def test_no_secret_has_a_default() -> None:
    text = (ROOT / "docker-compose.yml").read_text(encoding="utf-8")
    for name in (
        "POSTGRES_PASSWORD",
        "NATS_PASSWORD",
        "NATS_READER_PASSWORD",
        "KASAL_API_TOKEN",
        "KASAL_WEBHOOK_KEY",
    ):
        assert not re.search(rf"\$\{{{name}(:-[^}}]+|)\}}", text)


def test_what_a_caller_can_set_reaches_the_processes_that_read_it() -> None:
    readers = {
        "KASAL_AUDIT_KEY": {"relay"},
        "KASAL_AUDIT_PUBLIC_KEY": {"api"},
        "KASAL_WEBHOOK_KEY": {"api", "webhooks"},
        "KASAL_WEBHOOK_ALLOW": {"api", "webhooks"},
        "KASAL_HTTP_ALLOW": {"runner"},
        "KASAL_HTTP_POST_ALLOW": {"runner"},
        "KASAL_FILES_DIR": {"runner"},
        "KASAL_QUEUES": {"runner"},
        "KASAL_RUNNER_PROCESSES": {"runner"},
        "KASAL_CONCURRENCY": {"runner"},
        "KASAL_LEASE_S": {"runner", "dispatcher"},
        "KASAL_MAX_STREAMS": {"api"},
        "KASAL_LOG_QUEUE": {"api"},
        "KASAL_CHECKPOINT_S": {"relay"},
        "KASAL_CHECKPOINT_EVENTS": {"relay"},
        "KASAL_LOG_LEVEL": {*KASAL_SERVICES},
    }
    for variable, services in readers.items():
        found = {name for name in KASAL_SERVICES if variable in COMPOSE["services"][name]["environment"]}
        assert found == services, variable


def test_what_nobody_has_set_has_the_default_of_the_settings() -> None:
    defaults = Settings()
    for service in KASAL_SERVICES:
        for name, value in COMPOSE["services"][service]["environment"].items():
            given = re.fullmatch(r"\$\{(KASAL_\w+):-(.+)\}", str(value))
            if given is not None:
                assert str(getattr(defaults, name.removeprefix("KASAL_").lower())) in (
                    given[2],
                    f"{given[2]}.0",
                )
