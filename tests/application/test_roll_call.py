"""Runners that are gone, or were cut off: their steps begin again at once, and each has one effect."""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Sequence

import pytest

from application.dispatcher import OpenStep
from application.ports import Assignment, Reporter, Stopped
from application.roll_call import RollCall
from domain.errors import Unavailable
from domain.execution import StartStep, Status, StepCompleted, StepFailed
from tests.application.house import ME, House, PlainEngine
from tests.application.test_runs import ask, ended
from tests.domain.examples import blog
from tests.waiting import eventually

CLAIM = StartStep(execution_id="x", step="crew", turn=1, delivery=1, runner="dead")


class Absent:
    """`FindAbsent` that gives one answer after the other, and the last for ever. None: NATS was away."""

    def __init__(self, *answers: set[str] | None) -> None:
        self.calls = 0
        self._answers = answers

    async def __call__(self, names: Collection[str]) -> set[str]:
        answer = self._answers[min(self.calls, len(self._answers) - 1)]
        self.calls += 1
        if answer is None:
            raise Unavailable("NATS was away")
        return answer & set(names)


class Late(PlainEngine):
    """Reports once `gate` is set."""

    def __init__(self) -> None:
        super().__init__()
        self.has_begun, self.gate = asyncio.Event(), asyncio.Event()
        self.stops: list[Stopped] = []

    async def run(self, assignment: Assignment, reporter: Reporter) -> StepCompleted | StepFailed:
        self.has_begun.set()
        await self.gate.wait()
        try:
            return await super().run(assignment, reporter)
        except Stopped as stopped:
            self.stops.append(stopped)
            raise


def roll_call(house: House, absent: Absent) -> RollCall:
    async def held_steps() -> Sequence[OpenStep]:
        return [step for step in (await house.open_work()).steps if step.is_with_runner]

    return RollCall(house.roster, absent, held_steps, house.commands, every_s=0.01, grace_s=0.05)


async def test_the_steps_of_a_runner_that_is_gone_do_not_wait_for_its_leases() -> None:
    house, absent = House(lease_s=3600), Absent({"dead"})
    await house.start("x", blog(), topic="tea")
    await ask(house, CLAIM, "dead")
    runner = house.runner("r", PlainEngine())
    async with house.running(house.dispatcher().run(), roll_call(house, absent).run(), runner.run()):
        await eventually(ended(house, "x"))
    assert (await house.state("x")).steps["crew"].attempt == 2
    assert house.roster == {"r"}


async def test_runners_whose_claims_others_have_heard_are_known_from_the_log() -> None:
    house, absent = House(lease_s=3600), Absent({"dead"})
    await house.start("x", blog(), topic="tea")
    await house.commands.handle(CLAIM, ME)
    runner = house.runner("r", PlainEngine())
    async with house.running(house.dispatcher().run(), roll_call(house, absent).run(), runner.run()):
        await eventually(ended(house, "x"))


@pytest.mark.parametrize("between", [set(), None], ids=["it answers", "NATS was away"])
async def test_a_runner_that_comes_back_in_time_keeps_its_steps(between: set[str] | None) -> None:
    house, absent = House(), Absent(*[{"dead"}, between] * 20, set())
    await house.start("x", blog(), topic="tea")
    await ask(house, CLAIM, "dead")
    async with house.running(roll_call(house, absent).run()):
        await eventually(lambda: absent.calls > 41)
    assert (await house.state("x")).steps["crew"].turn == 1
    assert house.roster == {"dead"}


async def test_what_a_runner_reports_that_was_cut_off_has_no_effect() -> None:
    house, engine = House(lease_s=3600), Late()
    await house.start("x", blog(), topic="tea")
    cut, other = house.runner("cut", engine, concurrency=1), house.runner("other", PlainEngine())
    house.runners.remove(cut)  # nobody can tell it that the execution has ended
    async with house.running(house.dispatcher().run(), cut.run()):
        await eventually(engine.has_begun.is_set)
        async with house.running(roll_call(house, Absent({"cut"})).run(), other.run()):
            await eventually(ended(house, "x"))
            head = await house.log.head()
            engine.gate.set()
            await eventually(lambda: engine.stops)
    assert (await house.state("x")).status is Status.COMPLETED
    assert await house.log.head() == head
