"""`kasal projections`: list, rebuild, verify and retry read models, beside running projectors."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence

import click

from infrastructure.settings import load_settings
from infrastructure.wiring import Installation
from projections import ALL, Projection
from projections.operations import list_projections, rebuild, retry
from projections.verification import verify

VERIFICATION_FAILED = 7
SHOWN_DIFFERENCES = 20

NAMES = click.Choice([projection.name for projection in ALL])


@click.group()
def projections() -> None:
    """List, rebuild, verify, retry read models."""


def chosen(names: Sequence[str]) -> list[Projection]:
    return [projection for projection in ALL if not names or projection.name in names]


def with_installation(work: Callable[[Installation], Awaitable[None]]) -> None:
    async def run() -> None:
        async with Installation(load_settings()) as installation:
            await work(installation)

    asyncio.run(run())


@projections.command("list")
def list_all() -> None:
    """Name, version, position, lag, status and parked events of each."""

    async def work(installation: Installation) -> None:
        rows = await list_projections(await installation.read(), await installation.log())
        click.echo(f"{'name':22}{'version':>8}{'position':>11}{'lag':>9}{'parked':>8}  status")
        for row in rows:
            status = f"{row.status}: {row.reason}" if row.reason else row.status
            click.echo(f"{row.name:22}{row.version:8}{row.position:11}{row.lag:9}{row.parked:8}  {status}")

    with_installation(work)


@projections.command("rebuild")
@click.argument("names", nargs=-1, type=NAMES)
def rebuild_named(names: tuple[str, ...]) -> None:
    """Build the named read models (all without NAMES) anew from the log; queries go on meanwhile."""

    async def work(installation: Installation) -> None:
        for projection in chosen(names):
            click.echo(f"{projection.name}: ", nl=False)
            await rebuild(projection, await installation.read(), await installation.log())
            click.echo("rebuilt")

    with_installation(work)


@projections.command("verify")
@click.argument("names", nargs=-1, type=NAMES)
def verify_named(names: tuple[str, ...]) -> None:
    """Prove the named read models (all without NAMES) equal to a fold of the log; exit code 7 if not."""

    async def work(installation: Installation) -> None:
        is_equal = True
        for projection in chosen(names):
            found = await verify(projection, await installation.read(), await installation.log())
            is_equal = is_equal and found.is_equal
            verdict = "equal" if found.is_equal else f"{found.count} rows differ"
            click.echo(f"{projection.name}: {found.rows} rows at position {found.position}, {verdict}")
            for row in found.differences[:SHOWN_DIFFERENCES]:
                click.echo(f"  {row.table} {row.key} is {row.is_now}, should be {row.should_be}")
        if not is_equal:
            raise SystemExit(VERIFICATION_FAILED)

    with_installation(work)


@projections.command("retry")
@click.argument("name", type=NAMES)
def retry_named(name: str) -> None:
    """Fold what was parked again, in order, after the fault was mended."""

    async def work(installation: Installation) -> None:
        for projection in chosen([name]):
            result = await retry(projection, await installation.read())
            click.echo(f"{name}: {result.folded} folded, {result.parked} still parked")
            if result.parked:
                raise SystemExit(1)

    with_installation(work)
