"""Flows from end to end, in memory: routers between crews, and processes that end in between."""

from __future__ import annotations

import asyncio
from typing import Any

import msgspec
import pytest

from application.ports import Assignment, Reporter
from domain.definition import Definition, Map, Step, Task
from domain.execution import (
    ExecutionCompleted,
    RouteChosen,
    Status,
    StepCompleted,
    StepScheduled,
    StepSkipped,
    StepStarted,
    TaskCompleted,
    TaskOutput,
)
from domain.message import tag_of
from domain.registry import event_of
from tests.application.house import House, PlainEngine
from tests.domain.examples import WRITER
from tests.domain.flows import crew, flow, router
from tests.waiting import eventually

RISKY = flow(
    risk=crew("risk"),
    route=router(("risk.score >= 0.8", "alarm"), otherwise="answer", after=("risk",)),
    answer=crew("answer"),
    alarm=crew("alarm"),
    log=crew("log", ("answer", "alarm")),
)


class Scoring(PlainEngine):
    """`risk` gives a score; every other task a text."""

    def __init__(self, score: float) -> None:
        super().__init__()
        self._score = score
        self.worked: list[str] = []

    async def run(self, assignment: Assignment, reporter: Reporter) -> StepCompleted:
        step, attempt = assignment.step, assignment.attempt
        self.worked.append(step)
        for task in assignment.definition.tasks_of(step):
            structured: Any = {"score": self._score} if task == "risk" else None
            output = TaskOutput(f"{task} done", structured)
            await reporter.record(
                TaskCompleted(step=step, attempt=attempt, task=task, output=output, duration_ms=1)
            )
        return StepCompleted(step=step, attempt=attempt)


async def tags(house: House, execution_id: str) -> list[str]:
    return [recorded.tag for recorded in await house.log.read_stream(f"execution-{execution_id}")]


async def is_ended(house: House, execution_id: str) -> bool:
    return not (await house.state(execution_id)).is_open


@pytest.mark.parametrize(("score", "way"), [(0.9, "alarm"), (0.2, "answer")])
async def test_a_flow_runs_on_the_branch_that_its_router_chose(score: float, way: str) -> None:
    house, engine = House(), Scoring(score)
    await house.start("x", RISKY)
    async with house.running(house.dispatcher().run(), house.runner("r", engine).run()):
        await eventually(lambda: is_ended(house, "x"))
    assert engine.worked == ["risk", way, "log"]
    assert (await house.state("x")).status is Status.COMPLETED


async def test_a_flow_whose_dispatcher_and_runner_end_after_every_step_repeats_none() -> None:
    house, worked = House(), []
    await house.start("x", RISKY)
    for count in (1, 2, 3):
        engine = Scoring(0.9)
        runner = house.runner(f"r{count}", engine, concurrency=1)
        async with house.running(house.dispatcher(runners_are_gone=True).run(), runner.run()):
            await eventually(lambda: ends(house, count))  # noqa: B023 - awaited within the round
        worked += engine.worked
    assert (await house.state("x")).status is Status.COMPLETED
    found = await tags(house, "x")
    assert found.count(tag_of(RouteChosen)) == found.count(tag_of(ExecutionCompleted)) == 1
    assert found.count(tag_of(StepSkipped)) == 1
    assert found.count(tag_of(StepCompleted)) == 3
    assert set(worked) == {"risk", "alarm", "log"}


async def ends(house: House, count: int) -> bool:
    return (await tags(house, "x")).count(tag_of(StepCompleted)) >= count


async def test_a_step_gets_the_context_that_was_there_and_no_more() -> None:
    house = House()
    seen: dict[str, list[str]] = {}

    class Looking(Scoring):
        async def run(self, assignment: Assignment, reporter: Reporter) -> StepCompleted:
            seen[assignment.step] = sorted(assignment.outputs)
            return await super().run(assignment, reporter)

    task = msgspec.structs.replace(RISKY.tasks["log"], context=("risk", "answer", "alarm"))
    definition = msgspec.structs.replace(RISKY, tasks={**RISKY.tasks, "log": task})
    await house.start("x", definition)
    async with house.running(house.dispatcher().run(), house.runner("r", Looking(0.9)).run()):
        await eventually(lambda: is_ended(house, "x"))
    assert seen["log"] == ["alarm", "risk"]
    [scheduled] = [
        event
        for recorded in await house.log.read_stream("execution-x")
        if isinstance(event := event_of(recorded), StepScheduled) and event.step == "log"
    ]
    assert scheduled.without == ("answer",)


async def test_a_thousand_items_are_worked_on_side_by_side_and_cost_the_same_each() -> None:
    """The last hundred may take at most three times as long as the first: they would take ten times if each
    cost grew with those before it. Best of what is measured, as the machine is shared."""
    house = House()
    many = Map(over="inputs.names", tasks=("greet",), max_parallel=20)
    definition = Definition(
        name="Many",
        agents={"writer": WRITER},
        tasks={"greet": Task(description="Greet {item}", expected_output="a greeting", agent="writer")},
        steps={"each": Step(map=many)},
        inputs={"names": {"type": "array"}},
    )
    await house.start("x", definition, names=[f"n{number}" for number in range(1_000)])
    runners = [house.runner(f"r{number}", PlainEngine(), concurrency=10).run() for number in (1, 2)]
    async with house.running(house.dispatcher().run(), *runners):
        await eventually(lambda: is_ended(house, "x"), 100)
    events = await house.log.read_stream("execution-x")
    ends = [each.metadata.at for each in events if each.tag == tag_of(StepCompleted)]
    assert len(ends) == 1_000
    state = await house.state("x")
    assert (state.status, len(state.steps), len(state.outputs)) == (Status.COMPLETED, 1, 1)
    bodies = [len(each.body) for each in events]
    assert max(bodies) < 64 * 1024
    assert sum(bodies[-801:-1]) < 1.1 * sum(bodies[101:901]), "events grow with those before them"
    hundreds = [ends[at + 99] - ends[at] for at in range(0, 1_000, 100)]
    assert min(hundreds[5:]) < 3 * max(hundreds[:5])


async def test_an_item_whose_runner_dies_is_worked_on_again_and_no_other() -> None:
    house = House(lease_s=0.2)
    hangs = asyncio.Event()

    async def hang(assignment: Assignment, task: str) -> None:
        if assignment.step == "each--1" and assignment.attempt == 1:
            hangs.set()
            await asyncio.Event().wait()

    mapped = Map(over="[1, 2, 3]", tasks=("risk",), max_parallel=3)
    await house.start("x", flow_with(Step(map=mapped)))
    dead = house.runner("r1", PlainEngine(hang), heartbeat_s=3600)
    async with house.running(house.dispatcher().run(), dead.run()):
        await hangs.wait()
        await eventually(lambda: is_claimed(house, "each--1"))  # or the next attempt would be the first
        async with house.running(house.runner("r2", PlainEngine(hang)).run()):
            await eventually(lambda: is_ended(house, "x"))
    started = [
        (event.step, event.attempt)
        for recorded in await house.log.read_stream("execution-x")
        if isinstance(event := event_of(recorded), StepStarted)
    ]
    assert sorted(started) == [("each--0", 1), ("each--1", 1), ("each--1", 2), ("each--2", 1)]


async def is_claimed(house: House, step: str) -> bool:
    return (await house.state("x")).steps[step].attempt == 1


def flow_with(step: Step) -> Definition:
    document = flow(risk=crew("risk"))
    return msgspec.structs.replace(document, steps={"each": step})
