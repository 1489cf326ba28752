"""Serves the HTTP application on a socket of ours, until cancelled.

Called by `kasal api` and `kasal up`. On cancellation no new request is taken, streams end, requests in hand
are answered.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from typing import cast

import uvicorn
from uvicorn._types import ASGIApplication

from application.contents import Contents
from application.log_feed import LogFeed
from domain.errors import Invalid
from infrastructure.settings import Settings
from infrastructure.wiring import Installation, to_cloudevent
from interfaces.http.app import create_app, end_streams, spare_the_collector
from interfaces.http.parts import Parts
from interfaces.processes.whole_writes import Protocol

GRACE_S = 10
BACKLOG = 2048
MAX_MESSAGE_BYTES = 16 * 1024
"""Of what the client of a WebSocket may say: a token."""


def configuration(app: ASGIApplication, *, grace_s: int = GRACE_S) -> uvicorn.Config:
    """grace_s: how long requests in hand may take at the end."""
    return uvicorn.Config(
        app,
        http=Protocol,
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=False,
        timeout_graceful_shutdown=grace_s,
        timeout_keep_alive=30,
        ws="websockets-sansio",
        ws_max_size=MAX_MESSAGE_BYTES,
        ws_per_message_deflate=False,
    )


class Server(uvicorn.Server):
    """uvicorn without its signal handlers: the process has its own."""

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


def listen(settings: Settings) -> socket.socket:
    """A bound socket. Raises `Invalid` when the address is not to be had."""
    family = socket.AF_INET6 if ":" in settings.host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((settings.host, settings.port))
    except OSError as error:
        listener.close()
        address = f"{settings.host}:{settings.port}"
        raise Invalid(f"KASAL_PORT: {address} can not be listened on: {error.strerror}") from None
    listener.listen(BACKLOG)
    return listener


def url_of(listener: socket.socket) -> str:
    host, port = listener.getsockname()[:2]
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


async def parts_of(installation: Installation, *, follow_log: bool = False) -> Parts:
    """follow_log: what is live comes from this process's log, not over NATS."""
    log = await installation.log()
    return Parts(
        settings=installation.settings,
        clock=installation.clock,
        commands=await installation.commands(),
        read=await installation.read(),
        contents=Contents(log),
        audit=await installation.audit(),
        read_log=log,
        feed=LogFeed(log) if follow_log else await installation.feed(),
        to_cloudevent=to_cloudevent,
        subscribe_tokens=installation.tokens_of,
        webhook_secrets=installation.webhook_secrets(),
        webhook_progress=installation.webhook_progress,
        check_webhook_url=installation.check_webhook_url,
        required={"event_log": installation.check_log},
        degraded={"read_tables": installation.check_read, "nats": installation.check_nats},
    )


async def serve(installation: Installation, listener: socket.socket, *, follow_log: bool = False) -> None:
    """Until cancelled; then drain. follow_log: as `parts_of` has it."""
    app = create_app(await parts_of(installation, follow_log=follow_log))
    spare_the_collector()
    server = Server(configuration(cast("ASGIApplication", app)))
    serving = asyncio.create_task(server.serve(sockets=[listener]))
    try:
        await asyncio.shield(serving)
    except asyncio.CancelledError:
        await end_streams(app)
        server.should_exit = True
        await serving
        raise
