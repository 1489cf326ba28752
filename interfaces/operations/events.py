"""`kasal events`: what there is to be followed."""

from __future__ import annotations

import click

from interfaces.event_catalogue import page


@click.group()
def events() -> None:
    """The events that Kasal records."""


@events.command()
def catalogue() -> None:
    """Every event with its fields, as Markdown (docs/events.md)."""
    click.echo(page(), nl=False)
