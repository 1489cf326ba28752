"""`kasal config`: what the settings are, and every fault in them."""

from __future__ import annotations

import click

from domain.errors import Invalid
from infrastructure.settings import load_settings, redacted


@click.group()
def config() -> None:
    """Check and show the settings."""


@config.command()
def check() -> None:
    """Name every fault of the KASAL_* variables; exit code 2 when there is one."""
    try:
        load_settings()
    except Invalid as invalid:
        for fault in invalid.faults:
            click.echo(f"{fault.pointer}: {fault.message}", err=True)
        raise SystemExit(2) from None
    click.echo("the settings are in order")


@config.command()
def show() -> None:
    """Every setting with its value, credentials taken out."""
    for name, value in redacted(load_settings()).items():
        click.echo(f"{name}={value}")
