"""Claims that come with a first report, and first attempts that two runners were given."""

from __future__ import annotations

import asyncio

import msgspec
import pytest

from application.channel_messages import Reply, Request
from application.ports import Assignment, Reporter
from domain.execution import RecordProgress, StartStep, Status, StepCompleted, StepFailed, TaskStarted
from tests.application.house import House, PlainEngine
from tests.application.test_runs import ask, ended
from tests.domain.examples import blog
from tests.waiting import eventually


async def test_a_first_attempt_is_claimed_in_one_commit_with_its_first_report() -> None:
    house = House()
    await house.start("x", blog(), topic="tea")
    async with house.running(house.dispatcher().run(), house.runner("r", PlainEngine()).run()):
        await eventually(ended(house, "x"))
    stored = await house.log.read_stream("execution-x")
    command_of = {recorded.tag: recorded.metadata.command_id for recorded in reversed(stored)}
    assert command_of["execution.step_started"] == command_of["execution.task_started"]


async def test_a_runner_with_nothing_to_report_claims_its_step_nevertheless() -> None:
    house = House()
    done = asyncio.Event()

    async def think(assignment: Assignment, task: str) -> None:
        await done.wait()

    async def is_claimed() -> bool:
        return (await house.state("x")).steps["crew"].runner == "r"

    await house.start("x", blog(), topic="tea")
    async with house.running(house.dispatcher().run(), house.runner("r", PlainEngine(think)).run()):
        await eventually(is_claimed)
        done.set()
        await eventually(ended(house, "x"))
    assert (await house.state("x")).steps["crew"].attempt == 1


async def test_of_two_runners_that_were_given_the_same_first_attempt_one_goes_on() -> None:
    house = House()
    await house.start("x", blog(), topic="tea")
    claims = {
        name: StartStep(execution_id="x", step="crew", turn=1, delivery=1, runner=name)
        for name in ("r1", "r2")
    }
    for name, claim in claims.items():
        request = Request(runner=name, command=claim, claims_later=True)
        reply = msgspec.json.decode(await house.channel.answer(msgspec.json.encode(request)), type=Reply)
        assert reply.is_unclaimed
        assert reply.assignment is not None
        assert reply.assignment.attempt == 1
    begun = TaskStarted(step="crew", attempt=1, task="research", agent="writer")
    report = RecordProgress(execution_id="x", step="crew", attempt=1, after=0, entries=(begun,))
    first = msgspec.structs.replace(report, claim=claims["r1"])
    second = msgspec.structs.replace(report, claim=claims["r2"])
    assert not (await ask(house, first, "r1")).refused
    refused = await ask(house, second, "r2")
    assert "running by r1" in refused.refused
    assert not refused.is_over
    assert not (await ask(house, first, "r1")).refused  # its answer was lost
    tags = [recorded.tag for recorded in await house.log.read_stream("execution-x")]
    assert tags.count("execution.task_started") == 1


@pytest.mark.parametrize(("reports", "attempt"), [(0, 1), (1, 2)])
async def test_a_runner_that_vanishes_is_replaced_and_its_late_report_refused(
    reports: int, attempt: int
) -> None:
    """Who vanishes before its first report never had an attempt."""
    house = House(lease_s=0.1)
    frozen, thaw = asyncio.Event(), asyncio.Event()
    refused: list[str] = []

    class Freezing(PlainEngine):
        async def run(self, assignment: Assignment, reporter: Reporter) -> StepCompleted | StepFailed:
            begun = TaskStarted(step="crew", attempt=assignment.attempt, task="research", agent="writer")
            if reports:
                await reporter.record(begun)
            frozen.set()
            await thaw.wait()
            try:
                return await super().run(assignment, reporter)
            except BaseException as error:
                refused.append(str(error))
                raise

    await house.start("x", blog(), topic="tea")
    first = house.runner("r1", Freezing(), heartbeat_s=3600, concurrency=1)
    house.runners.remove(first)  # no announcement reaches it
    async with house.running(house.dispatcher().run(), first.run()):
        await frozen.wait()
        async with house.running(house.runner("r2", PlainEngine()).run()):
            await eventually(ended(house, "x"))
            thaw.set()
            await eventually(lambda: bool(refused))
    state = await house.state("x")
    assert (state.status, state.steps["crew"].runner, state.steps["crew"].attempt) == (
        Status.COMPLETED,
        "r2",
        attempt,
    )
    assert "while completed" in refused[0]
