"""Runners that are told to let go: what is in flight is reported, nothing begins, the next attempt waits."""

from __future__ import annotations

import asyncio

from application.ports import Assignment, Prior, Reporter, Stopped
from domain.execution import (
    CancelExecution,
    Content,
    Journaled,
    ModelCallCompleted,
    ModelCallStarted,
    PauseExecution,
    ResumeExecution,
    Status,
    StepCompleted,
    StepFailed,
    StepReleased,
    StepSuspended,
    TaskStarted,
    Wait,
)
from domain.registry import event_of
from tests.application.house import ME, House, PlainEngine
from tests.application.test_runs import ended, model_call
from tests.domain.examples import blog
from tests.waiting import eventually


class Calling(PlainEngine):
    """Makes one call that is in flight until `answer` is set, then begins a task; afterwards runs on."""

    def __init__(self) -> None:
        super().__init__()
        self.in_flight, self.answer = asyncio.Event(), asyncio.Event()
        self.stops: list[Stopped] = []
        self.journals: list[tuple[Journaled | Prior, ...]] = []

    async def run(self, assignment: Assignment, reporter: Reporter) -> StepCompleted | StepFailed:
        self.journals.append(assignment.journal)
        if assignment.attempt > 1:
            return await super().run(assignment, reporter)
        asked = Content("d", 1, "?")
        await reporter.record(
            ModelCallStarted(step="crew", attempt=1, call="c1", model="demo/small", request=asked)
        )
        self.in_flight.set()
        await self.answer.wait()
        try:
            await reporter.record(model_call("c1", "answer"))
            await reporter.record(TaskStarted(step="crew", attempt=1, task="research", agent="researcher"))
        except Stopped as stopped:
            self.stops.append(stopped)
            raise
        raise AssertionError("expected to be told to let go")


async def tags(house: House) -> list[str]:
    return [
        recorded.tag.removeprefix("execution.") for recorded in await house.log.read_stream("execution-x")
    ]


async def in_flight(house: House, engine: Calling) -> None:
    await house.start("x", blog(), topic="tea")
    await engine.in_flight.wait()


async def test_a_paused_step_reports_its_call_and_lets_go() -> None:
    house, engine = House(), Calling()
    async with house.running(house.dispatcher().run(), house.runner("r", engine).run()):
        await in_flight(house, engine)
        await house.commands.handle(PauseExecution(execution_id="x"), ME)
        engine.answer.set()
        await eventually(lambda: not house.queue.held)
    assert (await tags(house))[-3:] == ["paused", "model_call_completed", "step_released"]
    assert engine.stops[0].is_draining
    assert (await house.state("x")).status is Status.PAUSED


async def test_a_call_in_flight_at_a_pause_is_known_after_the_resume() -> None:
    house, engine = House(), Calling()
    async with house.running(house.dispatcher().run(), house.runner("r", engine).run()):
        await in_flight(house, engine)
        await house.commands.handle(PauseExecution(execution_id="x"), ME)
        await house.commands.handle(ResumeExecution(execution_id="x"), ME)
        engine.answer.set()
        await eventually(ended(house, "x"))
    assert (await house.state("x")).status is Status.COMPLETED
    assert [entry.call for entry in engine.journals[1] if isinstance(entry, Journaled)] == ["c1"]


async def test_a_paused_step_that_is_cancelled_stops_at_once() -> None:
    house, engine = House(), Calling()
    async with house.running(house.dispatcher().run(), house.runner("r", engine).run()):
        await in_flight(house, engine)
        await house.commands.handle(PauseExecution(execution_id="x"), ME)
        await house.commands.handle(CancelExecution(execution_id="x"), ME)
        await eventually(lambda: not house.queue.held)
    assert (await tags(house))[-2:] == ["paused", "cancelled"]


async def test_a_runner_that_dies_while_it_lets_go_is_replaced_after_its_lease() -> None:
    house, engine = House(lease_s=0.2), Calling()
    dead = house.runner("r1", engine, heartbeat_s=3600, concurrency=1)
    async with house.running(house.dispatcher().run(), dead.run()):
        await in_flight(house, engine)
        await house.commands.handle(PauseExecution(execution_id="x"), ME)
        await house.commands.handle(ResumeExecution(execution_id="x"), ME)
        async with house.running(house.runner("r2", PlainEngine()).run()):
            await eventually(ended(house, "x"))
    assert (await house.state("x")).status is Status.COMPLETED


class Asking(PlainEngine):
    """Asks a person, once, while a call of another task is in flight."""

    async def run(self, assignment: Assignment, reporter: Reporter) -> StepCompleted | StepFailed:
        wait = Wait(kind="human_input", id="q1", message="Is this right?")
        begun = TaskStarted(step="crew", attempt=1, task="research", agent="researcher")
        results = await asyncio.gather(
            reporter.record(model_call("c1", "answer")),
            reporter.record(StepSuspended(step="crew", attempt=1, wait=wait)),
            reporter.record(begun),
            return_exceptions=True,
        )
        assert results[0] is None
        stops = [stop for stop in results[1:] if isinstance(stop, Stopped)]
        assert [stop.is_draining for stop in stops] == [True, True]
        raise stops[0]


async def test_a_step_that_asks_waits_without_a_runner_and_keeps_its_outcomes() -> None:
    house = House()
    await house.start("x", blog(), topic="tea")
    async with house.running(house.dispatcher().run(), house.runner("r", Asking()).run()):
        await eventually(lambda: waits(house))
        await eventually(lambda: not house.queue.held)
    events = [event_of(recorded) for recorded in await house.log.read_stream("execution-x")]
    assert [type(event) for event in events[-3:]] == [StepSuspended, ModelCallCompleted, StepReleased]
    assert events[-3].refused == 2  # type: ignore[attr-defined]


async def waits(house: House) -> bool:
    return (await house.state("x")).status is Status.WAITING


async def test_what_a_runner_had_not_sent_yet_is_in_the_journal_before_it_hands_its_work_back() -> None:
    house, told = House(lease_s=3600), asyncio.Event()
    journals: list[tuple[Journaled | Prior, ...]] = []

    class Answered(PlainEngine):
        async def run(self, assignment: Assignment, reporter: Reporter) -> StepCompleted | StepFailed:
            journals.append(assignment.journal)
            if assignment.attempt > 1:
                return await super().run(assignment, reporter)
            await reporter.record(model_call("c1", "answer"), wait=False)
            told.set()
            await asyncio.Event().wait()
            raise AssertionError("unreachable")

    await house.start("x", blog(), topic="tea")
    async with house.running(house.dispatcher().run()):
        async with house.running(house.runner("r1", Answered()).run()):
            await told.wait()
            second = asyncio.create_task(house.runner("r2", Answered()).run())
        await eventually(ended(house, "x"))
        second.cancel()
        await asyncio.wait([second])
    assert [[entry.call for entry in journal] for journal in journals] == [[], ["c1"]]  # type: ignore[union-attr]
