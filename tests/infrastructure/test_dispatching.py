"""A dispatcher whose runners are known to be gone, beside read tables that lag behind the log."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Coroutine
from contextlib import asynccontextmanager, suppress
from pathlib import Path

from application.log_feed import LogFeed
from domain.errors import Unavailable
from domain.execution import StartStep
from infrastructure.clock import SystemClock
from infrastructure.dispatching import dispatch
from infrastructure.nats.connection import Connection
from infrastructure.nats.jetstream import Missing, ask
from infrastructure.nats.subjects import WORK
from infrastructure.nats.work import JetStreamWorkQueue
from projections import ALL
from projections.engine import project
from projections.open_steps import open_steps
from tests.application.house import ME, House
from tests.domain.examples import blog
from tests.projections.databases import opened
from tests.waiting import eventually


@asynccontextmanager
async def beside(loop: Coroutine[None, None, None]) -> AsyncIterator[None]:
    task = asyncio.create_task(loop)
    try:
        yield
    finally:
        task.cancel()
        await asyncio.wait([task])


async def test_a_step_that_was_begun_just_before_the_end_of_everything_begins_again_at_once(
    tmp_path: Path, nats_connection: Connection
) -> None:
    house, queue = House(), JetStreamWorkQueue(nats_connection, lease_s=3600)
    async with opened(f"sqlite:///{tmp_path / 'read.db'}") as read_db:

        async def is_queued() -> bool:
            with suppress(Unavailable):  # the tables are being made
                return [step.status for step in await open_steps(read_db)] == ["scheduled"]
            return False

        async def has_looked_at_the_queue() -> bool:
            try:
                return bool(await ask(nats_connection, f"STREAM.INFO.{WORK}"))
            except Missing:
                return False

        def projecting() -> Coroutine[None, None, None]:
            return project(ALL, house.log, LogFeed(house.log), read_db)

        await house.start("x", blog(), topic="tea")
        async with beside(projecting()):
            await eventually(is_queued)
        claim = StartStep(execution_id="x", step="crew", turn=1, delivery=1, runner="dead")
        await house.commands.handle(claim, ME)
        parts = nats_connection, read_db, house.log, house.commands, queue, SystemClock()
        async with beside(
            dispatch(*parts, lambda every_s: LogFeed(house.log, every_s), house.roster, runners_are_gone=True)
        ):
            await eventually(has_looked_at_the_queue)
            async with beside(projecting()):
                again = await queue.take(("default",), 60)
                assert again is not None
                assert (again.work.turn, again.number) == (1, 2)
