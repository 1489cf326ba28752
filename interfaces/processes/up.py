"""`kasal up`: everything on one machine, nothing to install or configure.

API, relay, projector, dispatcher and the embedded nats-server's keeper in this process, runners beside it.
The data folder is its own: a second `up` on it is refused, and all in it is found again after a restart.
"""

from __future__ import annotations

import asyncio
import fcntl
import json
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import click

from domain.errors import Rejected
from infrastructure.settings import Settings, variable
from infrastructure.wiring import READER_URL, Installation
from interfaces.processes.process import log, run
from interfaces.processes.serving import listen, serve, url_of

PASSED_ON = (
    "concurrency",
    "queues",
    "lease_s",
    "files_dir",
    "http_allow",
    "http_post_allow",
    "demo_delay_s",
    "log_level",
)
"""Settings that the runner has from here."""

RUNNER_PAUSE_S = 1.0
RUNNER_GRACE_S = 8.0


@click.command()
@click.option(
    "--data", "data_dir", type=click.Path(file_okay=False, path_type=Path), help="Folder of everything."
)
@click.option("--host", help="Address to listen on (KASAL_HOST).")
@click.option("--port", type=int, help="Port to listen on; 0 takes a free one (KASAL_PORT).")
@click.option("--runners", type=int, help="Runner processes (KASAL_RUNNERS).")
def up(data_dir: Path | None, host: str | None, port: int | None, runners: int | None) -> None:
    """Run everything on this machine until Ctrl-C."""
    run("up", main, data_dir=data_dir, host=host, port=port, runners=runners)


async def main(installation: Installation) -> None:
    settings = installation.settings
    settings.data_dir.mkdir(parents=True, exist_ok=True, mode=0o700)
    with sole_owner(settings.data_dir) as note, listen(settings) as listener:
        await installation.migrate()
        installation.make_keys()
        nats_url = await installation.start_nats()
        await installation.nats()
        if settings.seed:
            await installation.plant()
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(installation.relay())
            tasks.create_task(installation.keep_checkpoints())
            tasks.create_task(installation.project(follow_log=True))
            tasks.create_task(installation.dispatch(follow_log=True, runners_are_gone=True))
            tasks.create_task(installation.serve_runners())
            if installation.webhook_secrets() is not None:
                tasks.create_task(installation.deliver_webhooks(is_alone=True))
            tasks.create_task(serve(installation, listener, follow_log=True))
            if settings.runners:
                tasks.create_task(keep_runner(settings, nats_url))
            note(url_of(listener))
            say_where(settings, url_of(listener))


@contextmanager
def sole_owner(data_dir: Path) -> Iterator[Callable[[str], None]]:
    """Hold the data folder; yields a function that notes the URL in it for others. Raises `Rejected`."""
    path = data_dir / "up.json"
    with path.open("a+") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise Rejected(f"kasal up is not allowed: another one runs on {data_dir}") from None

        def note(url: str) -> None:
            file.seek(0)
            file.truncate()
            file.write(json.dumps({"url": url, "pid": os.getpid()}))
            file.flush()

        try:
            yield note
        finally:
            file.truncate(0)


def say_where(settings: Settings, url: str) -> None:
    click.echo(f"Kasal is up: {url}/v1 (documentation: {url}/schema)")
    if not settings.nats_url:
        click.echo(f"NATS, read-only, for other systems: the URL in {settings.data_dir / READER_URL}")
    click.echo(f"Data: {settings.data_dir}   Runners: {settings.runners}   Ctrl-C stops it.")
    sys.stdout.flush()


async def keep_runner(settings: Settings, nats_url: str) -> None:
    """The runner, which forks its processes; another one when it ends. On cancellation it gets SIGTERM and
    time to hand back."""
    environment = {
        **{name: value for name, value in os.environ.items() if not name.startswith("KASAL_")},
        variable("nats_url"): nats_url,
        variable("data_dir"): str(settings.data_dir.absolute() / "runner"),
        variable("runner_processes"): str(settings.runners),
    }
    for field in PASSED_ON:
        environment[variable(field)] = str(getattr(settings, field))
    while True:
        command = (sys.executable, "-m", "interfaces.cli", "runner", "--parent", str(os.getpid()))
        runner = await asyncio.create_subprocess_exec(*command, env=environment, start_new_session=True)
        try:
            code = await runner.wait()
        except asyncio.CancelledError:
            await end(runner)
            raise
        log.error("a runner ended and is started again", exit_code=code)
        await asyncio.sleep(RUNNER_PAUSE_S)


async def end(runner: asyncio.subprocess.Process) -> None:
    runner.terminate()
    try:
        async with asyncio.timeout(RUNNER_GRACE_S):
            await runner.wait()
    except TimeoutError:
        runner.kill()
        await runner.wait()
