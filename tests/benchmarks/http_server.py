"""The server side of the HTTP benchmark: the API on a log, or the same route without one.

Run by `tests.benchmarks.http` as `python -m tests.benchmarks.http_server api|stub <log url>`.
It prints its port and serves until it is ended.
"""

from __future__ import annotations

import asyncio
import gc
import socket
import sys
from contextlib import asynccontextmanager
from typing import Annotated, Any, cast

import msgspec
import uvicorn
import uvloop
from litestar import Litestar, post
from uvicorn._types import ASGIApplication

from application.audit.proofs import Audit
from application.commands import CommandHandler, Context
from application.contents import Contents
from application.requests import create_workflow
from domain.catalog import Model, SetEntry
from domain.definition import Json
from infrastructure.clock import SystemClock
from infrastructure.event_log.opening import open_audit_store, open_event_log
from infrastructure.event_log.schema import migrate
from infrastructure.nats.cloudevents import to_cloudevent
from infrastructure.nats.memory import MemoryFeed
from infrastructure.settings import Settings
from interfaces.http.answers import Accepted
from interfaces.http.app import create_app, spare_the_collector
from interfaces.http.examples import BLOG
from interfaces.http.parts import Parts
from interfaces.processes.process import switch_often
from interfaces.processes.serving import configuration
from projections.database import open_read_database

WORKFLOW = "blog-production"


class Start(msgspec.Struct, forbid_unknown_fields=True):
    """The body of the route."""

    workflow_id: str | None = None
    inputs: dict[str, Json] = {}
    name: Annotated[str, msgspec.Meta(max_length=100)] | None = None


@post("/v1/executions")
async def stub(data: Start) -> Accepted:
    """What Litestar needs to read a request and write an answer."""
    return Accepted(data.workflow_id or "", 1, 1, "PENDING")


async def api(url: str) -> Litestar:
    await asyncio.to_thread(migrate, url)
    log, clock = await open_event_log(url), SystemClock()
    commands = CommandHandler(log, clock)
    context = Context(actor="system:benchmark")
    await commands.handle(SetEntry(kind="models", entry=Model(name="demo/model", default=True)), context)
    await commands.handle(create_workflow(WORKFLOW, BLOG), context)
    return create_app(
        Parts(
            settings=Settings(),
            clock=clock,
            commands=commands,
            read=await open_read_database("sqlite:////dev/null"),
            contents=Contents(log),
            audit=Audit(open_audit_store("sqlite:////dev/null"), None),
            read_log=log,
            feed=MemoryFeed(),
            to_cloudevent=to_cloudevent,
            subscribe_tokens=no_tokens,
        )
    )


@asynccontextmanager
async def no_tokens(tenant: str, execution_id: str) -> Any:
    yield None


async def main(kind: str, url: str) -> None:
    switch_often()
    gc.collect()
    gc.freeze()
    spare_the_collector()
    app = await api(url) if kind == "api" else Litestar([stub], openapi_config=None, logging_config=None)
    listener = socket.create_server(("127.0.0.1", 0))
    sys.stdout.write(f"{listener.getsockname()[1]}\n")
    sys.stdout.flush()
    await uvicorn.Server(configuration(cast("ASGIApplication", app))).serve(sockets=[listener])


if __name__ == "__main__":
    uvloop.run(main(*sys.argv[1:3]))
