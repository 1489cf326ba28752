"""`kasal keys`: the key that seals contents, and what has to be done when it is changed."""

from __future__ import annotations

import asyncio
import secrets

import click

from infrastructure.settings import load_settings
from infrastructure.wiring import Installation


@click.group()
def keys() -> None:
    """The key that seals what executions say."""


@keys.command()
def new() -> None:
    """Print a new key for KASAL_ENCRYPTION_KEY; it is stored nowhere."""
    click.echo(secrets.token_urlsafe(32))


@keys.command()
def rewrap() -> None:
    """Wrap the keys of all executions with KASAL_ENCRYPTION_KEY that KASAL_ENCRYPTION_KEY_BEFORE still wraps.

    Beside running processes that have both. May be stopped, and run again.
    """

    async def work() -> tuple[int, int]:
        async with Installation(load_settings()) as installation:
            return await installation.rewrap_keys()

    done, seen = asyncio.run(work())
    click.echo(f"{done} keys wrapped anew, of {seen}")
