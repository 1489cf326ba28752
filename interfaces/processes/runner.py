"""`kasal runner`: runs crews. The only process that loads CrewAI and litellm; it has no database.

It loads them once, and forks the processes that work (`supervisor.py`).
"""

from __future__ import annotations

import os
import socket
import sys
from functools import partial
from pathlib import Path

import click
import msgspec
import uvloop

from application.ports import CrewEngine
from domain.errors import Invalid
from infrastructure.running import Engine, Line, load_engine, run_alone, take_steps
from infrastructure.settings import Settings, load_settings
from interfaces.loading import collect_seldom, for_good
from interfaces.processes.homes import own_home
from interfaces.processes.process import configure_logging, until_stopped
from interfaces.processes.supervisor import Supervisor


@click.command()
@click.option("--queues", help="Queues to take steps from, separated by commas (KASAL_QUEUES).")
@click.option("--concurrency", type=int, help="Steps at once in each process (KASAL_CONCURRENCY).")
@click.option("--processes", type=int, help="Processes; 0: one a core (KASAL_RUNNER_PROCESSES).")
@click.option(
    "--engine", type=click.Choice(["crewai", "noop"]), default="crewai", help="noop: for benchmarks."
)
@click.option("--parent", type=int, default=0, help="End when this process, which started it, has ended.")
def runner(
    queues: str | None, concurrency: int | None, processes: int | None, engine: Engine, parent: int
) -> None:
    """Take steps from the work queue and run their crews."""
    settings = settled(load_settings(queues=queues, concurrency=concurrency, runner_processes=processes))
    configure_logging(settings.log_level, "runner")
    with own_home(settings.data_dir / "homes") as home:
        with for_good():
            loaded = load_engine(engine, settings, home)
        collect_seldom()
        code = supervisor(settings, loaded, parent).run()
    sys.stderr.flush()
    os._exit(code)  # not by the interpreter's shutdown, which can hang or crash with CrewAI loaded


def settled(settings: Settings) -> Settings:
    """Paths that stay right when the working folder changes. Raises `Invalid` without NATS."""
    if not settings.nats_url:
        raise Invalid("KASAL_NATS_URL: expected nats://user:password@host:port (or run `kasal up`)")
    files = str(Path(settings.files_dir).resolve()) if settings.files_dir else ""
    return msgspec.structs.replace(settings, data_dir=settings.data_dir.absolute(), files_dir=files)


def supervisor(settings: Settings, engine: CrewEngine, parent: int) -> Supervisor:
    def work(line: Line) -> None:
        uvloop.run(until_stopped("runner", partial(take_steps, settings, engine, line), settings))

    def alone(end: socket.socket) -> None:
        run_alone(end, engine)

    count = settings.runner_processes or len(os.sched_getaffinity(0))
    return Supervisor(count, work, alone, parent=parent)
