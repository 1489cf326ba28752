"""Large texts on the way of an execution: stored beside their events, read whole, sent again when lost."""

from __future__ import annotations

import asyncio

import msgspec
import pytest

from application.channel_messages import Reply
from application.contents import parts_of, set_aside
from application.ports import Assignment, Prior, Reporter
from domain.definition import Crew, Definition, Step, Task
from domain.execution import (
    Journaled,
    ModelCallCompleted,
    RecordProgress,
    StartStep,
    Status,
    StepCompleted,
    StepFailed,
    TaskCompleted,
    TaskOutput,
)
from domain.registry import event_of
from tests.application.house import House, PlainEngine
from tests.application.test_runs import ask, ended, model_call, recorded_calls
from tests.domain.examples import WRITER, blog
from tests.waiting import eventually


@pytest.mark.parametrize("size_bytes", [30_000, 120_000, 1_500_000])
async def test_a_context_that_fits_no_message_reaches_the_step_whole(size_bytes: int) -> None:
    house = House()
    seen: dict[str, TaskOutput] = {}

    class Large(PlainEngine):
        async def run(self, assignment: Assignment, reporter: Reporter) -> StepCompleted | StepFailed:
            seen.update(assignment.outputs)
            for name in assignment.definition.tasks_of(assignment.step):
                output = TaskOutput((name + "ü") * (size_bytes // 4))
                done = TaskCompleted(step=assignment.step, attempt=1, task=name, output=output, duration_ms=1)
                await reporter.record(done)
            return StepCompleted(step=assignment.step, attempt=1)

    await house.start("x", gathering(40 if size_bytes < 100_000 else 8))
    async with house.running(house.dispatcher().run(), house.runner("r", Large()).run()):
        await eventually(ended(house, "x"))
    state = await house.state("x")
    assert state.status is Status.COMPLETED
    assert {name: len(output.text) for name, output in seen.items()} == {
        name: len(name + "ü") * (size_bytes // 4) for name in state.definition.tasks_of("first")
    }


def gathering(count: int) -> Definition:
    """A step of many tasks, and one that has all of them as context."""
    task = Task(description="Do", expected_output="done", agent="writer", context=())
    many = {f"t{number}": task for number in range(count)}
    last = Task(description="Sum up", expected_output="a sum", agent="writer", context=tuple(many))
    steps = {
        "first": Step(crew=Crew(tasks=tuple(many))),
        "last": Step(crew=Crew(tasks=("sum",)), after=("first",)),
    }
    return Definition(name="Gathering", agents={"writer": WRITER}, tasks={**many, "sum": last}, steps=steps)


async def test_large_answers_are_stored_beside_their_events_and_come_back_whole() -> None:
    house = House(lease_s=0.1)
    texts = ["a" * 4_096, "b" * 4_097, "c" * 300_000, "ü" * 700_000, "b" * 4_097]
    got: list[tuple[Journaled | Prior, ...]] = []

    class Reading(PlainEngine):
        async def run(self, assignment: Assignment, reporter: Reporter) -> StepCompleted | StepFailed:
            got.append(assignment.journal)
            if assignment.attempt == 1:
                calls = [model_call(f"c{number}", text) for number, text in enumerate(texts)]
                await asyncio.gather(*map(reporter.record, calls))
                await asyncio.Event().wait()
            return await super().run(assignment, reporter)

    await house.start("x", blog(), topic="tea")
    dead = house.runner("r1", Reading(), heartbeat_s=3600, concurrency=1)
    async with house.running(house.dispatcher().run(), dead.run()):
        await eventually(lambda: recorded_calls(house, 5))
        async with house.running(house.runner("r2", Reading()).run()):
            await eventually(ended(house, "x"))
    assert [call.response.text for call in got[1] if isinstance(call, ModelCallCompleted)] == texts
    events = [event_of(event) for event in await house.log.read_all(0, 100)]
    stored = [event.response for event in events if isinstance(event, ModelCallCompleted)]
    assert [content.is_stored for content in stored] == [False, True, True, True, True]
    assert all(len(content.text) <= 4_096 for content in stored)


async def test_a_report_that_names_a_content_which_is_nowhere_is_not_recorded() -> None:
    house = House()
    await house.start("x", blog(), topic="tea")
    await ask(house, StartStep(execution_id="x", step="crew", turn=1, delivery=1, runner="r"), "r")
    (whole,) = parts_of("x" * 5_000)
    call, (part,) = set_aside(model_call("c", "x" * 5_000))
    report = RecordProgress(execution_id="x", step="crew", attempt=1, after=0, entries=(call,))
    assert (await ask(house, report, "r")).missing == (whole.digest,)
    assert not await recorded_calls(house, 1)
    forged = msgspec.structs.replace(part, body=b"y" * 5_000)
    assert "not what its digest says" in (await ask(house, report, "r", forged)).refused
    assert await ask(house, report, "r", part) == Reply()
    assert await recorded_calls(house, 1)


async def test_contents_that_the_store_lost_are_sent_again() -> None:
    house = House()
    await house.start("x", blog(), topic="tea")

    class Twice(PlainEngine):
        async def run(self, assignment: Assignment, reporter: Reporter) -> StepCompleted | StepFailed:
            for number in range(2):
                await reporter.record(model_call(f"c{number}", "large" * 100_000))
                if number == 0:
                    house.log._contents.clear()
            return await super().run(assignment, reporter)

    async with house.running(house.dispatcher().run(), house.runner("r", Twice()).run()):
        await eventually(ended(house, "x"))
    assert (await house.state("x")).status is Status.COMPLETED
    assert len(house.log._contents) == 2


async def test_a_step_whose_context_was_erased_fails_and_says_so() -> None:
    house = House()

    class Large(PlainEngine):
        async def run(self, assignment: Assignment, reporter: Reporter) -> StepCompleted | StepFailed:
            ended = await super().run(assignment, reporter)
            large = TaskOutput("x" * 50_000)
            await reporter.record(
                TaskCompleted(step=assignment.step, attempt=1, task="t0", output=large, duration_ms=1)
            )
            house.log._contents.clear()
            return ended

    await house.start("x", gathering(1))
    async with house.running(house.dispatcher().run(), house.runner("r", Large()).run()):
        await eventually(ended(house, "x"))
    last = event_of((await house.log.read_stream("execution-x"))[-1])
    assert last.failure.code == "content_lost"  # type: ignore[attr-defined]


async def test_a_small_journal_comes_with_the_claim_and_a_large_one_is_asked_for() -> None:
    house = House()
    await house.start("x", blog(), topic="tea")
    claims = [
        StartStep(execution_id="x", step="crew", turn=1, delivery=number, runner="r") for number in (1, 2, 3)
    ]
    assert (await ask(house, claims[0], "r")).past is None
    calls = [model_call(f"c{number}", "a" * 3_000) for number in range(60)]
    await ask(
        house, RecordProgress(execution_id="x", step="crew", attempt=1, after=0, entries=(*calls,)), "r"
    )
    second = await ask(house, claims[1], "r")
    assert second == await ask(house, claims[1], "r")
    assert second.past == Reply(journal=tuple(calls))
    more = [msgspec.structs.replace(call, call=f"{call.call}+", attempt=2) for call in calls]
    await ask(house, RecordProgress(execution_id="x", step="crew", attempt=2, after=0, entries=(*more,)), "r")
    assert (await ask(house, claims[2], "r")).past is None


async def test_where_no_call_was_begun_the_claim_says_that_there_is_no_journal() -> None:
    house = House()
    await house.start("x", blog(), topic="tea")
    for number in (1, 2):
        claim = StartStep(execution_id="x", step="crew", turn=1, delivery=number, runner="r")
        reply = await ask(house, claim, "r")
    assert reply.past == Reply()
