"""`kasal runner`: runs crews. The only process that loads CrewAI and litellm; it has no database."""

from __future__ import annotations

import asyncio
import os

import click

from infrastructure.wiring import Engine, Installation
from interfaces.processes.process import log, run

PARENT_WATCH_S = 0.5


@click.command()
@click.option("--concurrency", type=int, help="Steps at once (KASAL_CONCURRENCY).")
@click.option(
    "--engine", type=click.Choice(["crewai", "noop"]), default="crewai", help="noop: for benchmarks."
)
@click.option("--parent", type=int, help="End when this process, which started it, has ended.")
def runner(concurrency: int | None, engine: Engine, parent: int | None) -> None:
    """Take steps from the work queue and run their crews."""

    async def main(installation: Installation) -> None:
        async with asyncio.TaskGroup() as tasks:
            if parent:
                tasks.create_task(end_with(parent))
            tasks.create_task(installation.run_steps(engine=engine))

    run("runner", main, concurrency=concurrency)


async def end_with(parent: int) -> None:
    """End at once, handing nothing back, when the parent was killed: its next start takes the steps over."""
    while True:
        if os.getppid() != parent:
            log.error("the process that started this runner has ended")
            os._exit(1)
        await asyncio.sleep(PARENT_WATCH_S)
