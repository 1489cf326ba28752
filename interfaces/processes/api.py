"""`kasal api`: the HTTP API as a process of its own; run any number."""

from __future__ import annotations

import click

from infrastructure.wiring import Installation
from interfaces.processes.process import log, run
from interfaces.processes.serving import listen, serve, url_of


@click.command()
@click.option("--host", help="Address to listen on (KASAL_HOST).")
@click.option("--port", type=int, help="Port to listen on (KASAL_PORT).")
def api(host: str | None, port: int | None) -> None:
    """Serve the HTTP API."""
    run("api", main, host=host, port=port)


async def main(installation: Installation) -> None:
    with listen(installation.settings) as listener:
        log.info("listening", url=url_of(listener))
        await serve(installation, listener)
