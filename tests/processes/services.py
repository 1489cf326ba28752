"""An installation of processes of their own, to be killed: API, relay, projector, dispatcher, runners, NATS.

Used by the tests that kill. Its one rule: what was killed is started again as an operator would, on the same
files; nothing is cleaned up in between, except the store of a nats-server that is to have lost it.
"""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
from collections.abc import Mapping, Sequence
from pathlib import Path

import httpx

from infrastructure.event_log.schema import migrate
from infrastructure.nats.server import NatsServer, free_port, start_nats_server
from tests.nats_servers import crash, nats_binary
from tests.processes.stack import Process, reader
from tests.sealing import KEY
from tests.waiting import eventually

LOOPS = ("api", "relay", "projector", "dispatcher")
LEASE_S = "1"
START_S = 60.0


class Services:
    """url: of the API, the same after every restart. Every process is in `processes`, by its name."""

    def __init__(self, folder: Path, nats: NatsServer, databases: dict[str, str], **settings: str) -> None:
        self.folder = folder
        self.nats = nats
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.client = reader(self.url)
        self.processes: dict[str, Process] = {}
        self._runners: dict[str, tuple[str, ...]] = {}
        self._settings = {
            "KASAL_ENCRYPTION_KEY": KEY,
            "KASAL_NATS_URL": nats.url,
            "KASAL_LEASE_S": LEASE_S,
            "KASAL_PORT": str(self.port),
            "KASAL_LOG_LEVEL": "warning",
            **databases,
            **settings,
        }

    @classmethod
    async def start_all(
        cls, folder: Path, databases: dict[str, str], runners: Mapping[str, tuple[str, ...]], **settings: str
    ) -> Services:
        """The given runners by name, each with its options."""
        await asyncio.to_thread(migrate, databases["KASAL_LOG_URL"])
        nats = await start_nats_server(folder / "nats", binary=nats_binary())
        services = cls(folder, nats, databases, **settings)
        services._runners = dict(runners)
        for name in (*LOOPS, *runners):
            services.start(name)
        await services.until_ready()
        return services

    def add_runner(self, name: str, *options: str) -> None:
        self._runners[name] = options
        self.start(name)

    def start(self, name: str) -> None:
        arguments = ("runner", *self._runners[name]) if name in self._runners else (name,)
        settings = {**self._settings, "KASAL_DATA_DIR": str(self.folder / name)}
        self.processes[name] = Process(self.folder / f"{name}.log", *arguments, **settings)

    def kill(self, name: str) -> None:
        """SIGKILL; of a runner, the parent and with it every child."""
        self.processes[name].kill()

    async def kill_nats(self, *, wipe: bool) -> None:
        await crash(self.nats)
        if wipe:
            shutil.rmtree(self.folder / "nats" / "jetstream", ignore_errors=True)

    async def until_ready(self) -> None:
        await eventually(self._answers, START_S)

    def _answers(self) -> bool:
        try:
            return self.client.get("/livez").status_code == 200
        except httpx.TransportError:
            return False

    async def start_again(self, names: Sequence[str], *, wipe: bool = False) -> None:
        """What was killed, by whatever means; `wipe`: NATS comes back with an empty store."""
        if "nats" in names:
            await self.nats.wait()
            if wipe:
                shutil.rmtree(self.folder / "nats" / "jetstream", ignore_errors=True)
            await self.nats.start_again()
        for name in names:
            if name != "nats":
                self.processes[name].popen.wait(20)
                self.start(name)
        await self.until_ready()

    def pid_of(self, name: str) -> int:
        return self.nats.pid if name == "nats" else self.processes[name].popen.pid

    def children_of(self, name: str) -> list[int]:
        """The processes that a runner has forked."""
        parent = self.processes[name].popen.pid
        text = Path(f"/proc/{parent}/task/{parent}/children").read_text(encoding="utf-8")
        return [int(pid) for pid in text.split()]

    def kill_child(self, name: str) -> None:
        """SIGKILL of one of them."""
        for pid in self.children_of(name)[:1]:
            os.kill(pid, signal.SIGKILL)

    async def end(self) -> None:
        self.client.close()
        for process in self.processes.values():
            process.end()
        await self.nats.stop()

    def words(self) -> str:
        """The last that each process has said."""
        tails = {name: process.words[-1_500:] for name, process in self.processes.items()}
        return "\n".join(f"--- {name}\n{tail}" for name, tail in tails.items() if tail)
