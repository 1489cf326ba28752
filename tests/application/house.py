"""The whole way of an execution in memory: log, relay, feed, dispatcher, queue, channel, runners."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import msgspec

from application.admission import Candidate
from application.channel import CommandChannel
from application.children import OpenChild
from application.commands import CommandHandler, Context
from application.dispatcher import Dispatcher, OpenStep, OpenWork, Order
from application.offering import Offers
from application.ports import Assignment, Clock, CrewEngine, Reporter, Work
from application.relay import relay
from application.requests import create_workflow, run_definition
from application.runs import Runner
from domain.catalog import Model, PlantEntry
from domain.definition import Definition
from domain.execution import (
    EXECUTION,
    Execution,
    Status,
    StepCompleted,
    StepFailed,
    TaskCompleted,
    TaskOutput,
    TaskStarted,
)
from infrastructure.clock import SystemClock
from infrastructure.event_log.memory import MemoryEventLog
from infrastructure.nats.memory import MemoryFeed, MemoryWorkQueue
from infrastructure.open_work import candidates
from projections.open_children import OPEN_CHILDREN
from projections.open_steps import OPEN_STEPS
from projections.projection import Projection, facts_of
from tests.projections.oracle import PlainRows

ME = Context(actor="user:me")


class PlainEngine:
    """Each task of the crew begins and completes; `before` runs ahead of each task."""

    def __init__(self, before: Callable[[Assignment, str], Awaitable[None]] | None = None) -> None:
        self._before = before

    async def run(self, assignment: Assignment, reporter: Reporter) -> StepCompleted | StepFailed:
        step, attempt = assignment.step, assignment.attempt
        for task in assignment.definition.tasks_of(step):
            if self._before:
                await self._before(assignment, task)
            await reporter.record(TaskStarted(step=step, attempt=attempt, task=task, agent="writer"))
            output = TaskOutput(f"{task} done")
            await reporter.record(
                TaskCompleted(step=step, attempt=attempt, task=task, output=output, duration_ms=1)
            )
        return StepCompleted(step=step, attempt=attempt)


class House:
    """In-memory parts, and the loops that `running` starts."""

    def __init__(self, *, lease_s: float = 30, clock: Clock | None = None) -> None:
        self.log = MemoryEventLog()
        self.feed = MemoryFeed()
        self.queue = MemoryWorkQueue(lease_s=lease_s)
        self.commands = CommandHandler(self.log, clock or SystemClock())
        self.roster = set[str]()
        self.channel = CommandChannel(self.commands, self.log, self.roster)
        self.runners: list[Runner] = []
        self.executions: list[str] = []
        self.offers: dict[tuple[str, str, int], bytes] = {}
        self.orders: list[tuple[str, Order]] = []

    async def start(self, execution_id: str, definition: Definition, **inputs: object) -> None:
        await self.commands.handle(PlantEntry(kind="models", entry=Model(name="demo/small")), ME)
        document = msgspec.json.decode(msgspec.json.encode(definition))
        await self.commands.handle(run_definition(execution_id, document, inputs), ME)
        self.executions.append(execution_id)

    async def save(self, workflow_id: str, definition: Definition) -> None:
        await self.commands.handle(PlantEntry(kind="models", entry=Model(name="demo/small")), ME)
        document = msgspec.json.decode(msgspec.json.encode(definition))
        await self.commands.handle(create_workflow(workflow_id, document), ME)

    async def state(self, execution_id: str) -> Execution:
        return await self.commands.state_of(EXECUTION, execution_id)

    async def open_work(self) -> OpenWork:
        """What the read tables would say."""
        steps = []
        for execution_id in await self.all_executions():
            state = await self.state(execution_id)
            steps += [
                OpenStep(
                    tenant="default",
                    execution_id=execution_id,
                    step=name,
                    turn=step.turn,
                    is_with_runner=step.lease is not None,
                    is_draining=step.draining is not None,
                    delivery=step.delivery,
                    runner=step.lease.runner if step.lease else "",
                    is_queued=step.status.is_active and state.status is not Status.PAUSED,
                )
                for name, step in state.steps.items()
                if state.is_open and (step.status.is_active or step.lease)
            ]
        return OpenWork(await self.log.head(), steps, await self.candidates(), await self.open_children())

    async def candidates(self) -> list[Candidate]:
        rows = await self.folded(OPEN_STEPS)
        return [each for row in rows.tables.get("open_steps", {}).values() for each in candidates(row)]

    async def open_children(self) -> list[OpenChild]:
        rows = (await self.folded(OPEN_CHILDREN)).tables.get("open_children", {})
        return [OpenChild(row.tenant, row.parent_id, row.child) for row in rows.values() if row.open_since]

    async def folded(self, projection: Projection) -> PlainRows:
        rows = PlainRows()
        for fact in facts_of(await self.log.read_all(0, 1_000_000)):
            if fact.category in projection.categories:
                projection.fold(rows, fact)
        return rows

    async def all_executions(self) -> list[str]:
        """Those that children are, too."""
        events = await self.log.read_all(0, 1_000_000)
        return [one.entity_id for one in events if one.version == 1 and one.category == "execution"]

    async def announce(self, execution_id: str, order: Order) -> None:
        self.orders.append((execution_id, order))
        for runner in self.runners:
            (runner.drain if order == "drain" else runner.stop)(execution_id)

    async def send_offer(self, work: Work, offer: bytes) -> None:
        self.offers[work.execution_id, work.step, work.turn] = offer

    def offered(self, work: Work) -> bytes | None:
        return self.offers.pop((work.execution_id, work.step, work.turn), None)

    def dispatcher(self, *, runners_are_gone: bool = False) -> Dispatcher:
        return Dispatcher(
            self.feed,
            self.queue,
            self.commands,
            self.open_work,
            self.announce,
            Offers(self.commands, self.roster, self.send_offer),
            runners_are_gone=runners_are_gone,
        )

    def runner(self, name: str, engine: CrewEngine, **options: object) -> Runner:
        options = {"offered": self.offered, **options}
        runner = Runner(name, self.queue, self.channel.answer, engine, **options)  # type: ignore[arg-type]
        self.runners.append(runner)
        return runner

    @asynccontextmanager
    async def running(self, *loops: Awaitable[None]) -> AsyncIterator[None]:
        """The relay and the given loops, cancelled at the end."""
        tasks = [asyncio.ensure_future(loop) for loop in (relay(self.log, self.feed), *loops)]
        try:
            yield
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.wait(tasks)
