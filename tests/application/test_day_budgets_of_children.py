"""Children and the days of the workflows above them: each call counts once in each workflow's day."""

from __future__ import annotations

from typing import Any

import pytest
from msgspec.structs import replace

from application.channel_messages import Reply
from application.day_budgets import day_of
from application.requests import run_workflow
from domain.definition import Definition, Limits
from domain.execution import (
    CancelExecution,
    Content,
    Estimate,
    Execution,
    ModelCallStarted,
    RaiseBudget,
    RecordProgress,
    StartStep,
    Status,
    child_execution_id,
)
from domain.limits import DayBudget
from domain.spending import SPENDING
from tests.application.house import ME, House
from tests.application.test_children import settled
from tests.application.test_day_budgets import ask
from tests.domain.flows import child, crew, flow

TEXT = Content("d" * 64, 4, "text")
CHILD = child_execution_id("x", "1-sub")
GRANDCHILD = child_execution_id(CHILD, "1-sub")
PRICED = Estimate(10, 0.1)


def limited(document: Definition, on_exceeded: Any = "wait", **per_day: Any) -> Definition:
    limits = Limits(per_day=DayBudget(**per_day) if per_day else None, on_exceeded=on_exceeded)
    return replace(document, limits=limits)


def outer(workflow_id: str = "inner", **per_day: Any) -> Definition:
    return limited(flow(sub=child(workflow_id=workflow_id), a=crew("a")), **per_day)


async def opened(outermost: Definition, inner: Definition, middle: Definition | None = None) -> House:
    """Execution x of `outer` has begun, and its child; both steps that a runner works on are claimed."""
    house = House()
    await house.save("inner", inner)
    if middle is not None:
        await house.save("middle", middle)
    await house.save("outer", outermost)
    await house.commands.handle(run_workflow("x", "outer", {"vip": True}), ME)
    await settled(house)
    await settled(house)
    for execution in await house.all_executions():
        for step in (await house.state(execution)).steps:
            if step != "sub":
                await ask(house, StartStep(execution_id=execution, step=step, turn=1, delivery=1, runner="r"))
    return house


async def calls(house: House, execution: str, number: int = 1, estimate: Estimate | None = None) -> Reply:
    """Of its one step that has a crew, called as its task; the number-th of its attempt."""
    state = await house.state(execution)
    (step,) = [name for name, node in state.definition.graph.items() if node.crew]
    attempt = state.steps[step].attempt
    call = ModelCallStarted(
        step=step,
        attempt=attempt,
        task=step,
        call=f"c{attempt}-{number}",
        model="demo/small",
        request=TEXT,
        estimate=estimate,
    )
    after = number - 1
    report = RecordProgress(execution_id=execution, step=step, attempt=attempt, after=after, entries=(call,))
    return await ask(house, report)


async def held(house: House, workflow_id: str) -> int:
    """Model calls that are held or were spent in a workflow's day."""
    day = day_of(house.commands.now())
    return (await house.commands.state_of(SPENDING, f"{workflow_id}_{day}")).held_by_others("").model_calls


async def wait_of(house: House, execution: str) -> str:
    state: Execution = await house.state(execution)
    waits = [step.wait for step in state.steps.values() if step.wait]
    (message,) = [wait.message for wait in waits if wait.kind == "budget"]
    return message


INNER = flow(one=crew("one"))


async def test_a_child_spends_of_its_parents_day() -> None:
    house = await opened(outer(max_model_calls=6), INNER)
    await calls(house, CHILD)
    assert await held(house, "outer") == 5
    assert not (await calls(house, "x")).is_draining
    assert (await calls(house, "x", 2)).is_draining
    assert "max_model_calls is 6; with this call it would come to 7" in await wait_of(house, "x")
    assert await held(house, "inner") == 0


async def test_a_child_without_limits_of_its_own_is_refused_by_its_parents_day() -> None:
    house = await opened(outer(max_model_calls=1), INNER)
    assert not (await calls(house, "x")).is_draining
    assert (await calls(house, CHILD)).is_draining
    assert (await wait_of(house, CHILD)).endswith(
        "max_model_calls is 1; with this call it would come to 2 (of workflow 'outer', execution 'x')"
    )
    raised = RaiseBudget(execution_id="x", per_day=DayBudget(max_model_calls=2))
    await house.commands.handle(raised, ME)
    await house.commands.handle(RaiseBudget(execution_id=CHILD), ME)
    await ask(house, StartStep(execution_id=CHILD, step="one", turn=2, delivery=1, runner="r", insists=True))
    assert not (await calls(house, CHILD)).is_draining
    assert await held(house, "outer") == 2


async def test_a_child_spends_of_both_days_and_once_of_each() -> None:
    house = await opened(outer(max_model_calls=100), limited(INNER, max_model_calls=3))
    for number in (1, 2, 3):
        assert not (await calls(house, CHILD, number)).is_draining
    assert (await calls(house, CHILD, 4)).is_draining
    assert await wait_of(house, CHILD) == (
        f"a call of demo/small is not made: per_day, {day_of(house.commands.now())}: "
        "max_model_calls is 3; with this call it would come to 4"
    )
    assert (await held(house, "inner"), await held(house, "outer")) == (3, 3)


async def test_what_a_child_does_not_need_is_free_again_in_each_day() -> None:
    house = await opened(outer(max_model_calls=5), limited(INNER, max_model_calls=5))
    await calls(house, CHILD)
    assert (await held(house, "inner"), await held(house, "outer")) == (5, 5)
    await house.commands.handle(CancelExecution(execution_id=CHILD), ME)
    assert not (await calls(house, "x")).is_draining  # nobody had settled it: it was asked
    assert (await held(house, "inner"), await held(house, "outer")) == (1, 2)


async def test_a_grandchild_spends_of_every_day_above_it() -> None:
    house = await opened(outer("middle", max_model_calls=9), INNER, middle=outer("inner"))
    await calls(house, GRANDCHILD)
    assert await held(house, "outer") == 5
    await calls(house, CHILD)
    assert await held(house, "outer") == 6
    assert await held(house, "middle") == 0


async def test_running_time_of_a_child_counts_in_its_parents_day() -> None:
    house = await opened(outer(max_running_s=1_000), INNER)
    day = day_of(house.commands.now())
    shares = (await house.commands.state_of(SPENDING, f"outer_{day}")).shares
    assert {name for name, share in shares.items() if share.ran.since} == {"x", CHILD}


@pytest.mark.parametrize(
    ("per_day", "is_bounded"), [({"budget_usd": 1}, True), ({"max_tool_calls": 1}, False)]
)
async def test_what_bounds_answers_in_the_day_above_bounds_those_of_a_child(
    per_day: dict[str, Any], is_bounded: bool
) -> None:
    house = await opened(outer(**per_day), INNER)
    claim = StartStep(execution_id=CHILD, step="one", turn=1, delivery=2, runner="r")
    assignment = (await ask(house, claim)).assignment
    assert assignment is not None
    assert assignment.definition.limits.bounds_answers is is_bounded


async def test_a_child_does_not_spend_what_nobody_knows_the_price_of_where_the_day_above_is_bounded() -> None:
    house = await opened(outer(budget_usd=1), INNER)
    await calls(house, CHILD, estimate=Estimate(10))
    state = await house.state(CHILD)
    assert state.status is Status.FAILED
    priced = await opened(outer(budget_usd=1), INNER)
    assert not (await calls(priced, CHILD, estimate=PRICED)).refused
