"""The embedded nats-server: credentials, restarts, and that it never outlives its parent."""

from __future__ import annotations

import asyncio
import os
import signal
import stat
import subprocess
import sys
from pathlib import Path

import pytest
from nats import errors
from nats.aio.client import Client

from infrastructure.nats import bound
from infrastructure.nats.connection import connect
from infrastructure.nats.feed import JetStreamFeed
from infrastructure.nats.server import (
    NatsServer,
    NatsServerFailed,
    environment,
    keep_running,
    start_nats_server,
)
from tests.nats_servers import crash
from tests.waiting import eventually

PARENT = """
import asyncio, pathlib, sys
from infrastructure.nats.server import start_nats_server

async def main():
    server = await start_nats_server(pathlib.Path(sys.argv[1]))
    print(server.pid, flush=True)
    await asyncio.Event().wait()

asyncio.run(main())
"""

WATCHED_PARENT = """
import os, subprocess, sys
watch = "import os, sys; sys.path.insert(0, sys.argv[2]); import bound; "
watch += "bound.watch(int(sys.argv[1]), ['/bin/sleep', '3600'])"
subprocess.Popen([sys.executable, "-c", watch, str(os.getpid()), sys.argv[1]]).wait()
"""


def is_running(pid: int) -> bool:
    """Whether the process is there and no zombie."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


async def test_it_refuses_a_client_without_credentials(nats_server: NatsServer) -> None:
    address = nats_server.url.rpartition("@")[2]
    with pytest.raises(errors.Error):
        await Client().connect(f"nats://{address}", allow_reconnect=False, connect_timeout=2)


async def test_credentials_lie_in_a_file_only_its_owner_can_read(
    own_nats_server: NatsServer, tmp_path: Path
) -> None:
    password = own_nats_server.url.split("@")[0].rpartition(":")[2]
    holders = [
        path for path in (tmp_path / "nats").iterdir() if path.is_file() and password in path.read_text()
    ]
    assert [(path.name, stat.S_IMODE(path.stat().st_mode)) for path in holders] == [
        ("nats-server.conf", 0o600)
    ]


async def test_two_servers_have_different_ports_and_passwords(
    nats_server: NatsServer, own_nats_server: NatsServer
) -> None:
    assert nats_server.url.split("@")[1] != own_nats_server.url.split("@")[1]
    assert nats_server.url.split("@")[0] != own_nats_server.url.split("@")[0]


async def test_a_server_that_dies_is_started_again_at_the_same_url(own_nats_server: NatsServer) -> None:
    url, pid = own_nats_server.url, own_nats_server.pid
    keeper = asyncio.create_task(keep_running(own_nats_server))
    os.kill(pid, signal.SIGKILL)
    await eventually(lambda: own_nats_server.pid not in (0, pid))
    connection = await asyncio.wait_for(connect(url, "test"), 30)
    assert own_nats_server.url == url
    await connection.close()
    await own_nats_server.stop()
    await asyncio.wait_for(keeper, 30)


async def test_after_stop_nothing_is_started_again(own_nats_server: NatsServer) -> None:
    keeper = asyncio.create_task(keep_running(own_nats_server))
    pid = own_nats_server.pid
    await own_nats_server.stop()
    await asyncio.wait_for(keeper, 30)
    assert not is_running(pid)
    await own_nats_server.start_again()
    assert own_nats_server.pid == 0


async def test_what_was_stored_is_there_after_a_crash(own_nats_server: NatsServer, tmp_path: Path) -> None:
    connection = await connect(own_nats_server.url, "test")
    await JetStreamFeed(connection).create(42)
    await connection.close()
    await crash(own_nats_server)
    await own_nats_server.stop()
    again = await start_nats_server(tmp_path / "nats")
    connection = await connect(again.url, "test")
    assert await JetStreamFeed(connection).last_position() == 41
    await connection.close()
    await again.stop()


async def test_a_store_has_one_server(
    own_nats_server: NatsServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("infrastructure.nats.server.LOCK_TIMEOUT_S", 0.2)
    with pytest.raises(NatsServerFailed, match="another process runs a nats-server on"):
        await start_nats_server(tmp_path / "nats")


async def test_a_binary_that_is_no_server_is_a_clear_error(tmp_path: Path) -> None:
    binary = tmp_path / "not-a-server"
    binary.write_text("#!/bin/sh\necho this is no server >&2\nexit 3\n")
    binary.chmod(0o755)
    with pytest.raises(NatsServerFailed, match="ended with 3: this is no server"):
        await start_nats_server(tmp_path / "nats", binary=binary)


async def test_it_dies_with_a_parent_that_is_killed_and_the_next_start_takes_over(tmp_path: Path) -> None:
    parent = run_python(PARENT, str(tmp_path))
    assert parent.stdout is not None
    pid = int(parent.stdout.readline())
    parent.kill()
    parent.wait()
    server = await start_nats_server(tmp_path)
    await eventually(lambda: not is_running(pid))
    assert server.pid
    await server.stop()


async def test_where_no_kernel_helps_a_watcher_ends_the_command_with_its_parent() -> None:
    """The same for other systems than Linux, with `sleep` for the server."""
    parent = run_python(WATCHED_PARENT, str(Path(bound.__file__).parent))
    [sleeper] = await eventually(lambda: descendants(parent.pid, "sleep"))
    parent.kill()
    parent.wait()
    await eventually(lambda: not is_running(sleeper))


def run_python(code: str, *arguments: str) -> subprocess.Popen[str]:
    return subprocess.Popen([sys.executable, "-c", code, *arguments], stdout=subprocess.PIPE, text=True)


def descendants(pid: int, name: str) -> list[int]:
    """Processes of that name below another, by the kernel's own lists."""
    found = []
    for task in Path(f"/proc/{pid}/task").glob("*/children"):
        for child in map(int, task.read_text().split()):
            is_named = Path(f"/proc/{child}/comm").read_text().strip() == name
            found += [child] if is_named else descendants(child, name)
    return found


async def test_stop_lets_it_end_by_itself(own_nats_server: NatsServer) -> None:
    await own_nats_server.stop()
    assert await own_nats_server.wait() != -signal.SIGKILL


def test_what_the_environment_says_of_the_servers_processors_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("GOMAXPROCS", raising=False)
    monkeypatch.setattr("os.cpu_count", lambda: 8)
    assert environment()["GOMAXPROCS"] == "4"
    monkeypatch.setenv("GOMAXPROCS", "7")
    assert environment()["GOMAXPROCS"] == "7"
