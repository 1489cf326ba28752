"""`kasal migrate` and `kasal seed`: what an installation needs before its processes start."""

from __future__ import annotations

import asyncio

import click

from infrastructure.settings import load_settings
from infrastructure.wiring import Installation

SEEDERS = ("models", "tools", "schemas", "templates", "workflows")


@click.command()
def migrate() -> None:
    """Bring the event log's tables up to this release."""

    async def work() -> None:
        async with Installation(load_settings()) as installation:
            await installation.migrate()

    asyncio.run(work())
    click.echo("the event log is at this release's version")


@click.command()
@click.argument("seeders", nargs=-1, type=click.Choice(SEEDERS))
@click.option("--migrate", "with_migration", is_flag=True, help="Bring the event log's tables up first.")
def seed(seeders: tuple[str, ...], with_migration: bool) -> None:
    """Plant all seeds, or the named ones. What is there already, or was changed by people, is left alone."""

    async def work() -> None:
        async with Installation(load_settings()) as installation:
            if with_migration:
                await installation.migrate()
            for row in await installation.plant(seeders or SEEDERS):
                click.echo(
                    f"{row.seeder}: {row.total}, of which {row.appended} planted or brought up to date"
                )

    asyncio.run(work())
