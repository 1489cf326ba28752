"""`kasal events`: the events that are recorded: as they happen, and what there is of them."""

from __future__ import annotations

import sys

import click
import msgspec

from infrastructure.settings import load_settings
from interfaces.client import Kasal, KasalClientError
from interfaces.event_catalogue import page
from interfaces.operations.demo import running_url


@click.group()
def events() -> None:
    """The events that Kasal records."""


@events.command()
def catalogue() -> None:
    """Every event with its fields, as Markdown (docs/events.md)."""
    click.echo(page(), nl=False)


@events.command()
@click.option("--after", type=click.IntRange(0), help="Begin behind this position; else with what comes.")
@click.option("--type", "types", multiple=True, help="execution.completed, execution.*; may be repeated.")
@click.option("--status", "statuses", multiple=True, help="Events by which an execution gets this status.")
@click.option("--workflow", "workflow_id", help="A workflow and its executions.")
@click.option("--count", type=click.IntRange(1), help="End after so many.")
def follow(
    after: int | None,
    types: tuple[str, ...],
    statuses: tuple[str, ...],
    workflow_id: str | None,
    count: int | None,
) -> None:
    """Events as they happen, a CloudEvent a line, until Ctrl-C; what breaks meanwhile is picked up again."""
    settings = load_settings()
    host = f"[{settings.host}]" if ":" in settings.host else settings.host
    url = running_url(settings.data_dir) or f"http://{host}:{settings.port}"
    with Kasal(url, settings.api_token or None) as kasal:
        found = kasal.events(after=after, types=types, statuses=statuses, workflow_id=workflow_id)
        try:
            for number, event in enumerate(found, start=1):
                sys.stdout.buffer.write(msgspec.json.encode(event.cloudevent) + b"\n")
                sys.stdout.flush()
                if number == count:
                    return
        except KasalClientError as error:
            raise click.ClickException(str(error)) from error
