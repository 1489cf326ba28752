"""`kasal erase`: what an execution said is destroyed, for good; that it happened stays, with its proofs.

By nothing but the HTTP API.
"""

from __future__ import annotations

import click

from infrastructure.settings import load_settings
from interfaces.operations.talking import api, tell


@click.command()
@click.argument("execution_id")
@click.option("--reason", default="", help="Why, for the history, where it stays: no personal data.")
@click.option("--yes", is_flag=True, help="Do not ask.")
def erase(execution_id: str, reason: str, yes: bool) -> None:
    """Destroy inputs, prompts, outputs and comments of an execution that has ended. There is no way back."""
    if not yes:
        click.confirm(f"Destroy what {execution_id} said, for good?", abort=True)
    with api(load_settings()) as client:
        done = tell(client, f"/v1/executions/{execution_id}/erase", {"reason": reason})
    click.echo(f"{done['id']} is erased, at position {done['position']}")
