"""`kasal audit`: keys, checkpoints, proofs, bundles, and the check of a bundle or of the whole log.

Exit code 7 when something is not as it was signed. Its one rule: a key that lies beside what is checked is
used only when no other is given, and then it is said.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, BinaryIO

import click
import msgspec
from rich.console import Console
from rich.progress import Progress

from application.audit.bundles import BundleVerified, verify_bundle
from application.audit.notes import Checkpoint
from application.audit.ports import Forged
from application.audit.verifying import Verified
from domain.errors import Invalid, NotFound
from infrastructure.settings import Settings, load_settings
from infrastructure.wiring import Installation, auditing
from interfaces.operations.talking import api, ask, lines
from interfaces.operations.whole_files import whole_file

VERIFICATION_FAILED = 7
SHOWN = 20
PATIENCE_S = 60

KEYS = click.option(
    "--key", "keys", multiple=True, help="A public key, or a file with one; several where it was changed."
)


@click.group()
def audit() -> None:
    """Prove that nobody changed the event log."""


@audit.command()
@click.option("--new", is_flag=True, help="Make a new key and print both halves; it is stored nowhere.")
@click.option("--name", help="Its name, which checkpoints name as their origin; with --new.")
def key(new: bool, name: str | None) -> None:
    """Print the public key of this installation, to be kept by whoever checks."""
    if name and not new:
        raise click.UsageError("--name: expected only with --new")
    if new:
        private, public = auditing.new_key(name)
        click.echo(f"private (KASAL_AUDIT_KEY): {private}\npublic: {public}")
        return
    click.echo(own_key(load_settings()))


@audit.command()
@click.option("--size", type=click.IntRange(min=1), help="The one of this size; the newest without it.")
def checkpoint(size: int | None) -> None:
    """Print a signed checkpoint: kept elsewhere, it is a witness that the log can be held to."""
    with api(load_settings()) as client:
        click.echo(note_of(client, size), nl=False)


def note_of(client: Any, size: int | None) -> str:
    """The note of a checkpoint. Raises `NotFound`."""
    if size is not None:
        return str(ask(client, "/v1/audit/proofs/consistency", **{"from": size, "to": size})["to_checkpoint"])
    items = ask(client, "/v1/audit/checkpoints", limit=1)["items"]
    if not items:
        raise NotFound("there is no checkpoint yet")
    return str(items[0]["note"])


@audit.command()
@click.argument("position", type=click.IntRange(min=1))
@click.option("--size", type=click.IntRange(min=1), help="Of the checkpoint; the newest without it.")
def prove(position: int, size: int | None) -> None:
    """Print the proof (JSON) that the event at POSITION is part of the log."""
    with api(load_settings()) as client:
        click.echo(pretty(ask(client, "/v1/audit/proofs/inclusion", position=position, size=size)))


@audit.command()
@click.argument("older", type=click.IntRange(min=1))
@click.argument("newer", type=click.IntRange(min=1), required=False)
def consistency(older: int, newer: int | None) -> None:
    """Print the proof (JSON) that the log only grew from the checkpoint of size OLDER to that of NEWER."""
    with api(load_settings()) as client:
        click.echo(pretty(ask(client, "/v1/audit/proofs/consistency", **{"from": older, "to": newer})))


@audit.command()
@click.argument("execution_id")
@click.option("-o", "--output", type=click.Path(dir_okay=False, path_type=Path), help="The file to write.")
def bundle(execution_id: str, output: Path | None) -> None:
    """Write every event of an execution with its proof to a file, to be checked with `kasal audit verify`."""
    path = output or Path(f"{execution_id}.audit.ndjson")
    route = f"/v1/executions/{execution_id}/audit-bundle"
    with (
        api(load_settings()) as client,
        lines(client, route, patience_s=PATIENCE_S) as chunks,
        whole_file(path) as file,
    ):
        for chunk in chunks:
            file.write(chunk)
    click.echo(f"{path} ({file.size_bytes} bytes)")


@audit.command()
@click.argument("file", type=click.File("rb"), required=False)
@KEYS
@click.option(
    "--checkpoint", "witnesses", multiple=True, type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="A checkpoint that was kept elsewhere, which the log must agree with.",
)  # fmt: skip
def verify(file: BinaryIO | None, keys: tuple[str, ...], witnesses: tuple[Path, ...]) -> None:
    """Check a bundle FILE, offline; without FILE walk the whole log. Exit code 7 if anything differs."""
    settings = load_settings()
    believed = [read_key(text) for text in keys] or [own_key(settings)]
    if not keys:
        click.echo(f"believing this installation's own key {believed[0].rsplit('+', 1)[0]}", err=True)
    try:
        kept = [
            auditing.verifier(believed).check(path.read_text(encoding="utf-8", errors="replace"))
            for path in witnesses
        ]
        if file is not None:
            if witnesses:
                raise click.UsageError("--checkpoint: expected only without FILE")
            result: Verified = verify_bundle(file, auditing.verifier(believed))
        else:
            result = asyncio.run(walk(settings, believed, kept))
    except Forged as error:
        click.echo(f"kasal: {error}", err=True)
        sys.exit(VERIFICATION_FAILED)
    say(result)
    sys.exit(0 if result.is_sound else VERIFICATION_FAILED)


async def walk(settings: Settings, keys: Sequence[str], kept: Sequence[Checkpoint]) -> Verified:
    console = Console(stderr=True)
    with Progress(console=console, transient=True, disable=not console.is_terminal) as bar:
        task = bar.add_task("events", total=None)
        async with Installation(settings) as installation:
            return await installation.verify_log(
                keys,
                witnessed=kept,
                progress=lambda done, total: bar.update(task, completed=done, total=total),
            )


def say(result: Verified) -> None:
    for finding in result.findings[:SHOWN]:
        click.echo(str(finding))
    if result.count > SHOWN:
        click.echo(f"... and {result.count - SHOWN} more")
    if isinstance(result, BundleVerified) and result.is_erased:
        click.echo("the execution was erased: what it said is gone, that it happened is proved")
    verdict = "sound" if result.is_sound else f"{result.count} findings"
    click.echo(
        f"{result.events} events, {result.texts} large texts, {result.checkpoints} checkpoints hold, "
        f"proved up to position {result.covered}: {verdict}"
    )


def own_key(settings: Settings) -> str:
    """The public key of this installation. Raises `Invalid` where it has none."""
    found = auditing.public_key(settings)
    if found is None:
        raise Invalid("--key: expected a public key, for this installation has no key of its own here")
    return found


def read_key(text: str) -> str:
    """A key, or the key in a file."""
    path = Path(text)
    return path.read_text(encoding="utf-8", errors="replace").strip() if path.is_file() else text


def pretty(answer: object) -> str:
    return msgspec.json.format(msgspec.json.encode(answer), indent=2).decode()
