"""`kasal history`: exports as JSON lines of CloudEvents, and the way back into an empty log."""

from __future__ import annotations

import asyncio
import sys
from contextlib import nullcontext
from pathlib import Path

import click

from application.audit.importing import Imported, check_export, import_events
from domain.errors import Rejected
from infrastructure.settings import Settings, load_settings
from infrastructure.wiring import Installation, from_cloudevent, opened_with
from interfaces.operations.demo import running_url
from interfaces.operations.talking import api, lines
from interfaces.operations.whole_files import whole_file


@click.group()
def history() -> None:
    """Export and import what was recorded."""


@history.command("export")
@click.argument("execution_id", required=False)
@click.option("--after", type=click.IntRange(min=0), help="Begin behind this position; without an id.")
@click.option("--to", type=click.IntRange(min=1), help="The last position; without an id.")
@click.option("-o", "--output", type=click.Path(dir_okay=False, path_type=Path), help="A file, not stdout.")
def export(execution_id: str | None, after: int | None, to: int | None, output: Path | None) -> None:
    """Write one execution, or the log, as JSON lines of CloudEvents: byte for byte, with large texts."""
    if execution_id and (after is not None or to is not None):
        raise click.UsageError("--after and --to: expected only without an execution's id")
    path = f"/v1/executions/{execution_id}/history/export" if execution_id else "/v1/events/export"
    with (
        api(load_settings()) as client,
        lines(client, path, after=after, to=to) as chunks,
        whole_file(output) if output else nullcontext(sys.stdout.buffer) as file,
    ):
        for chunk in chunks:
            file.write(chunk)


@history.command("import")
@click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=Path))
def import_file(file: Path) -> None:
    """Put an export of a whole log into this installation's log, which must be empty and in nobody's use."""
    settings = load_settings()
    if url := running_url(settings.data_dir):
        raise Rejected(f"an import is not allowed: a stack runs on this log, at {url}")
    with file.open("rb") as found:
        expected = check_export(found, from_cloudevent, opened_with)
    asyncio.run(store(settings, file, expected))
    click.echo(f"{expected.events} events, root of the hash tree {expected.root.hex()}")


async def store(settings: Settings, file: Path, expected: Imported) -> None:
    async with Installation(settings) as installation:
        await installation.migrate()
        with file.open("rb") as found:
            stored = await import_events(await installation.log(), found, from_cloudevent)
        if stored != expected.events:
            raise Rejected(
                f"{stored} events were stored of {expected.events}: the file was changed meanwhile"
            )
