"""Child executions on their whole way: begun, told and reported once, whoever dies and whatever repeats."""

from __future__ import annotations

import asyncio
import random
from contextlib import suppress
from typing import Any

import pytest
from msgspec.structs import replace

from application.children import Children
from application.dispatcher import ENDED
from application.ports import Assignment, Reporter
from domain.definition import Definition
from domain.errors import KasalError
from domain.execution import (
    CancelExecution,
    DecideApproval,
    EndWait,
    Failure,
    PauseExecution,
    ResumeExecution,
    RetryExecution,
    Status,
    StepCompleted,
    StepFailed,
    child_execution_id,
)
from domain.execution.approvals import digest_of
from domain.steps import ChildWorkflow, Map, Step
from domain.workflow import ArchiveWorkflow
from tests.application.house import ME, House, PlainEngine
from tests.domain.flows import child, crew, flow, gate
from tests.waiting import eventually

CHILD = child_execution_id("x", "1-sub")


def parent(**fields: Any) -> Definition:
    return flow(sub=child(workflow_id="inner", inputs={"vip": "inputs.vip"}, **fields), a=crew("a", ("sub",)))


async def house_with(parent_document: Definition, inner: Definition | None = None) -> House:
    house = House()
    await house.save("inner", inner or flow(one=crew("one")))
    await house.start("x", parent_document)
    return house


async def has(house: House, execution_id: str, status: Status) -> None:
    async def is_so() -> bool:
        return (await house.state(execution_id)).status is status

    await eventually(is_so)


async def tags_of(house: House, execution_id: str) -> list[str]:
    return [one.tag for one in await house.log.read_stream(f"execution-{execution_id}")]


async def settled(house: House) -> None:
    """As a dispatcher that starts now."""
    await Children(house.commands).recover(await house.open_children())


class Stuck:
    """Fails each task of the steps in `failing`, waits in those in `hanging`."""

    def __init__(self) -> None:
        self.failing: set[str] = set()
        self.hanging: set[str] = set()
        self.goes_on = asyncio.Event()
        self._plain = PlainEngine()

    async def run(self, assignment: Assignment, reporter: Reporter) -> StepCompleted | StepFailed:
        if assignment.step in self.hanging:
            await self.goes_on.wait()
        if assignment.step in self.failing:
            failure = Failure("auth", "no key")
            return StepFailed(step=assignment.step, attempt=assignment.attempt, failure=failure)
        return await self._plain.run(assignment, reporter)


async def test_a_child_runs_once_from_three_dispatchers_and_its_output_goes_up() -> None:
    house = await house_with(parent())
    loops = [house.dispatcher().run() for _ in range(3)]
    async with house.running(*loops, house.runner("r", PlainEngine()).run()):
        await has(house, "x", Status.COMPLETED)
    state = await house.state("x")
    assert state.outputs["sub"].text == "one done"
    inner = (await house.state(CHILD)).request
    assert inner is not None
    assert (inner.workflow_id, inner.workflow_version, inner.inputs) == ("inner", 1, {"vip": False})
    assert inner.parent is not None
    assert (inner.parent.execution_id, inner.parent.step, inner.parent.depth) == ("x", "sub", 1)
    assert (await tags_of(house, "x")).count("execution.child_ended") == 1
    assert (await tags_of(house, CHILD)).count("execution.requested") == 1
    assert await house.open_children() == []


async def test_a_map_has_a_child_for_each_item() -> None:
    house = House()
    await house.save("inner", flow(one=crew("one")))
    inner = ChildWorkflow(workflow_id="inner", inputs={"vip": "item > 10"})
    mapped = Step(map=Map(over=str([*range(20)]), workflow=inner, max_parallel=5))
    await house.start("x", flow(each=mapped, a=crew("a", ("each",))))
    runners = [house.runner(name, PlainEngine()).run() for name in ("r1", "r2")]
    async with house.running(house.dispatcher().run(), house.dispatcher().run(), *runners):
        await has(house, "x", Status.COMPLETED)
    assert (await house.state("x")).outputs["each"].structured == ["one done"] * 20
    assert len(await house.all_executions()) == 21
    requests = [(await house.state(one)).request for one in (await house.all_executions())[1:]]
    assert sum(request is not None and request.inputs["vip"] is True for request in requests) == 9


async def test_children_have_children() -> None:
    house = House()
    await house.save("innermost", flow(one=crew("one")))
    await house.save("inner", flow(deep=child(workflow_id="innermost"), two=crew("two", ("deep",))))
    await house.start("x", parent())
    async with house.running(house.dispatcher().run(), house.runner("r", PlainEngine()).run()):
        await has(house, "x", Status.COMPLETED)
    [_, inner, innermost] = await house.all_executions()
    request = (await house.state(innermost)).request
    assert request is not None
    assert request.parent is not None
    assert (request.parent.execution_id, request.parent.depth) == (inner, 2)


async def test_the_end_of_a_child_while_the_dispatcher_is_down_is_found_again() -> None:
    house = await house_with(parent())
    await settled(house)
    await house.commands.handle(CancelExecution(execution_id=CHILD), ME)
    await settled(house)
    await settled(house)
    assert (await house.state("x")).status is Status.FAILED
    assert (await tags_of(house, "x")).count("execution.child_ended") == 1


async def test_cancelling_the_parent_cancels_the_child_at_work() -> None:
    house, engine = await house_with(parent()), Stuck()
    engine.hanging = {"one"}
    async with house.running(house.dispatcher().run(), house.runner("r", engine).run()):
        await has(house, CHILD, Status.RUNNING)
        await house.commands.handle(CancelExecution(execution_id="x"), ME)
        await has(house, CHILD, Status.CANCELLED)

        async def is_told() -> bool:
            return await house.open_children() == []

        await eventually(is_told)


async def test_a_child_whose_parent_has_ended_before_it_began_never_does() -> None:
    house = await house_with(parent())
    await house.commands.handle(CancelExecution(execution_id="x"), ME)
    await settled(house)
    assert await house.all_executions() == ["x"]
    assert await house.open_children() == []


async def test_a_retry_of_the_parent_has_the_same_child_go_on() -> None:
    house, engine = await house_with(parent(), flow(one=crew("one"), two=crew("two", ("one",)))), Stuck()
    engine.failing = {"two"}
    async with house.running(house.dispatcher().run(), house.runner("r", engine).run()):
        await has(house, "x", Status.FAILED)
        engine.failing = set()
        await house.commands.handle(RetryExecution(execution_id="x"), ME)
        await has(house, "x", Status.COMPLETED)
    assert len(await house.all_executions()) == 2
    tags = await tags_of(house, CHILD)
    assert (tags.count("execution.retried"), tags.count("execution.task_completed")) == (1, 2)


async def test_pausing_and_resuming_go_down() -> None:
    house, engine = await house_with(parent()), Stuck()
    engine.hanging = {"one"}
    async with house.running(house.dispatcher().run(), house.runner("r", engine).run()):
        await has(house, CHILD, Status.RUNNING)
        await house.commands.handle(PauseExecution(execution_id="x"), ME)
        await has(house, CHILD, Status.PAUSED)
        engine.goes_on.set()
        await house.commands.handle(ResumeExecution(execution_id="x"), ME)
        await has(house, "x", Status.COMPLETED)


async def test_a_child_is_not_begun_while_its_parent_is_paused() -> None:
    house = await house_with(parent())
    await house.commands.handle(PauseExecution(execution_id="x"), ME)
    await settled(house)
    assert await house.all_executions() == ["x"]
    await house.commands.handle(ResumeExecution(execution_id="x"), ME)
    await settled(house)
    assert await house.all_executions() == ["x", CHILD]


async def test_a_cancel_goes_down_to_the_children_of_children() -> None:
    house = House()
    await house.save("innermost", flow(one=crew("one")))
    await house.save("inner", flow(deep=child(workflow_id="innermost"), two=crew("two", ("deep",))))
    await house.start("x", parent())
    async with house.running(house.dispatcher().run()):
        deepest = child_execution_id(CHILD, "1-deep")
        await has(house, deepest, Status.PENDING)
        await house.commands.handle(CancelExecution(execution_id="x"), ME)
        await has(house, deepest, Status.CANCELLED)
        await has(house, CHILD, Status.CANCELLED)


async def test_what_a_person_has_rejected_in_a_child_is_not_asked_again_by_a_retry() -> None:
    house = await house_with(parent(), flow(gate=gate(), one=crew("one", ("gate",))))
    await settled(house)
    digest = digest_of("Send this?", {})
    no = DecideApproval(
        execution_id=CHILD, approval_id="1-gate", decision="reject", digest=digest, approver="lead"
    )
    await house.commands.handle(no, ME)
    await settled(house)
    assert (await house.state("x")).status is Status.FAILED
    await house.commands.handle(RetryExecution(execution_id="x"), ME)
    await settled(house)
    assert (await house.state("x")).status is Status.FAILED
    assert "a person refused" in (await house.log.read_stream("execution-x"))[-1].body.decode()
    assert await house.open_children() == []


async def test_a_workflow_that_was_archived_meanwhile_is_not_begun() -> None:
    house = await house_with(parent())
    await house.commands.handle(ArchiveWorkflow(workflow_id="inner"), ME)
    await settled(house)
    state = await house.state("x")
    assert state.status is Status.FAILED
    assert "archived" in (await house.log.read_stream("execution-x"))[-1].body.decode()


async def test_inputs_that_the_child_refuses_are_named() -> None:
    house = House()
    inner = flow(one=crew("one"))
    await house.save("inner", replace(inner, inputs={"vip": {"type": "string", "maxLength": 3}}))
    sub = child(("a",), workflow_id="inner", inputs={"vip": "a.text"})
    await house.start("x", flow(a=crew("a"), sub=sub))
    async with house.running(house.dispatcher().run(), house.runner("r", PlainEngine()).run()):
        await has(house, "x", Status.FAILED)
    assert "/inputs/vip" in (await house.log.read_stream("execution-x"))[-1].body.decode()


async def test_a_retry_after_a_child_was_cancelled_begins_another() -> None:
    house = await house_with(parent())
    await settled(house)
    await house.commands.handle(CancelExecution(execution_id=CHILD), ME)
    await settled(house)
    await house.commands.handle(RetryExecution(execution_id="x"), ME)
    await settled(house)
    assert await house.all_executions() == ["x", CHILD, child_execution_id("x", "2-sub")]


@pytest.mark.parametrize("seed", range(20))
async def test_whatever_comes_twice_or_late_the_child_ends_as_its_parent_wants(seed: int) -> None:
    """People do things to both; dispatchers hear each event of the past again, at any time."""
    chance, house = random.Random(seed), await house_with(parent(on_failure="continue", timeout_s=9))  # noqa: S311
    deeds = [PauseExecution, ResumeExecution, CancelExecution, RetryExecution]
    for _ in range(30):
        events = list(await house.log.read_all(0, 1_000))
        batch = chance.sample(events, min(len(events), 5))
        ends = [one for one in batch if one.tag in ENDED]
        await asyncio.gather(*(Children(house.commands).follow(batch, ends) for _ in range(2)))
        deed = chance.choice(deeds[: 2 if chance.random() < 0.8 else 4])
        with suppress(KasalError):
            await house.commands.handle(deed(execution_id=chance.choice(["x", CHILD])), ME)
        if chance.random() < 0.05:
            await house.commands.handle(EndWait(execution_id="x", step="sub", wait_id="1-sub"), ME)
    await settled(house)
    await settled(house)
    above = await house.state("x")
    for name, known in above.children.items():
        below = await house.state(child_execution_id("x", name))
        if not above.is_open or known.is_taken:
            assert not below.is_open
        elif known.is_open:
            assert above.status is not Status.PAUSED or below.status in (None, Status.PAUSED)
            assert above.status is Status.PAUSED or not below.is_paused_by_parent
            assert above.status is Status.PAUSED or below.is_open
