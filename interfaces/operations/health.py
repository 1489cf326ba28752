"""`kasal health`: whether a process on this machine is alive, for container health checks."""

from __future__ import annotations

import time

import click

from domain.errors import Unavailable
from infrastructure.settings import load_settings
from interfaces.processes.process import HEARTBEAT_S, sign_of_life

MAX_AGE_S = 5 * HEARTBEAT_S


@click.command()
@click.argument(
    "process", type=click.Choice(["up", "api", "relay", "projector", "dispatcher", "webhooks", "runner"])
)
def health(process: str) -> None:
    """Exit code 0 while PROCESS turns its loop, 6 otherwise."""
    path = sign_of_life(load_settings(), process)
    try:
        age_s = time.time() - path.stat().st_mtime
    except FileNotFoundError:
        raise Unavailable(f"{process} is not running here") from None
    if age_s > MAX_AGE_S:
        raise Unavailable(f"{process} gave no sign of life for {age_s:.0f} s")
    click.echo(f"{process} is alive")
