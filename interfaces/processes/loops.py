"""`kasal relay`, `kasal projector`, `kasal dispatcher`, `kasal webhooks`: one loop each."""

from __future__ import annotations

import asyncio

import click

from infrastructure.wiring import Installation
from interfaces.processes.process import run


@click.command()
def relay() -> None:
    """Copy the event log to NATS JetStream, in order, fenced; sign checkpoints of it (KASAL_AUDIT_KEY)."""
    run("relay", copy_and_sign)


async def copy_and_sign(installation: Installation) -> None:
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(installation.relay())
        tasks.create_task(installation.keep_checkpoints())


@click.command()
def projector() -> None:
    """Keep the read tables up to date."""
    run("projector", Installation.project)


@click.command()
def dispatcher() -> None:
    """Hand scheduled steps to runners and take what they report."""
    run("dispatcher", dispatch)


async def dispatch(installation: Installation) -> None:
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(installation.dispatch())
        tasks.create_task(installation.serve_runners())


@click.command()
def webhooks() -> None:
    """Deliver events to the endpoints that have subscribed."""
    run("webhooks", Installation.deliver_webhooks)
