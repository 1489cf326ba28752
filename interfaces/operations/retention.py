"""`kasal retention` and `kasal cleanup`: what is old leaves the read tables, to files or just so.

Its one rule: each execution is done with before the next one begins, so a run may be ended at any moment, and
the next one goes on.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from datetime import UTC, datetime, timedelta
from itertools import chain
from pathlib import Path

import click
import httpx
from rich.console import Console
from rich.progress import MofNCompleteColumn, Progress, TextColumn

from application.unnamed_contents import Found
from infrastructure.settings import Settings, load_settings
from infrastructure.wiring import Installation
from interfaces.operations.ages import Age
from interfaces.operations.archiving import Archiver, Listed, Skipped, drop, ended
from interfaces.operations.talking import api

ENDED = click.option(
    "--older-than", type=Age(), default="30d", show_default=True, help="Ended so long ago: 30d, 12h."
)
DRY_RUN = click.option("--dry-run", is_flag=True, help="Name what would be done, and do nothing.")


@click.group()
def retention() -> None:
    """Move what is old out of the way."""


@retention.command()
@click.option("--older-than", type=Age(), required=True, help="Ended so long ago: 90d, 12h.")
@click.option(
    "--to", "folder", type=click.Path(file_okay=False, path_type=Path), required=True, help="The folder."
)
@click.option("--dropped", is_flag=True, help="Also what `kasal cleanup` had only dropped.")
@DRY_RUN
def archive(older_than: timedelta, folder: Path, dropped: bool, dry_run: bool) -> None:
    """Write executions to files with their proof, then drop them from the read tables. The log keeps all."""
    before = datetime.now(UTC) - older_than
    with api(load_settings()) as client:
        found: Iterable[Listed] = ended(client, before)
        if dropped:
            gone = ended(client, before, archived=True)
            found = chain(found, (each for each in gone if not each["archive"]["files"]))
        if dry_run:
            return name(found, "archived")
        with Archiver(client, folder).alone() as archiver:
            count, size_bytes = each_in_turn(found, archiver.archive)
    click.echo(f"{count} executions archived in {folder.absolute()} ({size_bytes} bytes)")
    return None


@click.command()
@ENDED
@click.option(
    "--keys-older-than", type=Age(timedelta(days=1)), default="7d", show_default=True,
    help="Idempotency keys that came so long ago are forgotten; 1d or more.",
)  # fmt: skip
@click.option(
    "--contents-older-than", type=Age(timedelta(days=1)), default="7d", show_default=True,
    help="Large texts that no event names go, of executions that ended so long ago; 1d or more.",
)  # fmt: skip
@DRY_RUN
def cleanup(
    older_than: timedelta, keys_older_than: timedelta, contents_older_than: timedelta, dry_run: bool
) -> None:
    """Drop executions that ended long ago from the read tables, forget old idempotency keys, and remove large
    texts that no event names.

    The log keeps every event; `kasal retention archive` writes executions to files before.
    """
    settings = load_settings()
    with api(settings) as client:
        found = ended(client, datetime.now(UTC) - older_than)
        if dry_run:
            name(found, "dropped")
        else:
            count, _ = each_in_turn(found, dropping(client))
            click.echo(f"{count} executions dropped from the read tables")
    if not dry_run:
        forgotten = asyncio.run(forget_idempotency_keys(settings, datetime.now(UTC) - keys_older_than))
        click.echo(f"{forgotten} idempotency keys forgotten")
    unnamed = asyncio.run(remove_unnamed(settings, datetime.now(UTC) - contents_older_than, dry_run))
    what = f"{unnamed.contents} contents that no event names ({unnamed.size_bytes} bytes)"
    click.echo(f"{what} would be removed" if dry_run else f"{what} removed", err=dry_run)


def dropping(client: httpx.Client) -> Callable[[Listed], int]:
    def work(execution: Listed) -> int:
        drop(client, execution["id"])
        return 0

    return work


def each_in_turn(found: Iterable[Listed], work: Callable[[Listed], int]) -> tuple[int, int]:
    """How many were done, and the sum of what `work` says; what is skipped is told."""
    console, count, total = Console(stderr=True), 0, 0
    columns = (TextColumn("{task.description}"), MofNCompleteColumn())
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as bar:
        task = bar.add_task("executions", total=None)
        for execution in found:
            try:
                total += work(execution)
                count += 1
            except Skipped as why:
                click.echo(f"{execution['id']} is left: {why}", err=True)
            bar.update(task, completed=count)
    return count, total


def name(found: Iterable[Listed], what: str) -> None:
    """Each on a line, then how many."""
    count = 0
    for execution in found:
        click.echo(f"{execution['id']}  {execution['ended_at']}  {execution['status']}  {execution['name']}")
        count += 1
    click.echo(f"{count} executions would be {what}", err=True)


async def remove_unnamed(settings: Settings, before: datetime, is_dry_run: bool) -> Found:
    async with Installation(settings) as installation:
        return await (await installation.cleaning()).remove_unnamed_contents(before, is_dry_run=is_dry_run)


async def forget_idempotency_keys(settings: Settings, before: datetime) -> int:
    async with Installation(settings) as installation:
        return await (await installation.cleaning()).forget_idempotency_keys(before)
