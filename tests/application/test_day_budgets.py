"""Shares of a day's budget: free again when an execution needs them no more, however it came to that."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from application.channel_messages import Reply, Request
from application.commands import CommandHandler
from application.day_budgets import answered, day_of
from application.requests import create_workflow, run_workflow
from domain.amounts import Amounts
from domain.catalog import Model, PlantEntry
from domain.execution import (
    CancelExecution,
    Content,
    Failure,
    ModelCallFailed,
    ModelCallStarted,
    PauseExecution,
    RecordProgress,
    StartStep,
    Status,
    TimeOutExecution,
)
from domain.execution.budget import Account, booked
from domain.execution.values import Estimate
from domain.spending import SPENDING, Spending
from infrastructure.clock import SystemClock
from tests.application.house import ME, House
from tests.application.test_runs import has_work, model_call
from tests.domain.examples import blog
from tests.waiting import eventually

TEXT = Content("d" * 64, 4, "text")
AT: dict[str, Any] = {"step": "crew", "attempt": 1, "task": "research"}
LIMIT = 5


async def opened(*executions: str, house: House | None = None, **per_day: int) -> House:
    """Executions of a workflow that may make five model calls a day, or what is given; each has begun its
    step."""
    house = house or House()
    await house.commands.handle(PlantEntry(kind="models", entry=Model(name="demo/small")), ME)
    document: dict[str, Any] = msgspec.json.decode(msgspec.json.encode(blog()))
    limits = {"per_day": per_day or {"max_model_calls": LIMIT}, "timeout_s": 60}
    await house.commands.handle(create_workflow("w", {**document, "limits": limits}), ME)
    for execution in executions:
        await house.commands.handle(run_workflow(execution, "w", {"topic": "tea"}), ME)
        await ask(house, StartStep(execution_id=execution, step="crew", turn=1, delivery=1, runner="r"))
    return house


async def ask(house: House, command: StartStep | RecordProgress) -> Reply:
    request = Request(runner="r", command=command)
    return msgspec.json.decode(await house.channel.answer(msgspec.json.encode(request)), type=Reply)


async def begin_call(house: House, execution: str, number: int = 1, attempt: int = 1) -> Reply:
    at = {**AT, "attempt": attempt}
    call = ModelCallStarted(**at, call=f"c{number}", model="demo/small", request=TEXT)
    report = RecordProgress(
        execution_id=execution, step="crew", attempt=attempt, after=number - 1, entries=(call,)
    )
    return await ask(house, report)


async def spending(house: House) -> Spending:
    return await house.commands.state_of(SPENDING, f"w_{day_of(house.commands.now())}")


async def held(house: House) -> int:
    """Model calls that are held or were spent today."""
    return (await spending(house)).held_by_others("").model_calls


@pytest.mark.parametrize(
    "end", [CancelExecution(execution_id="x"), TimeOutExecution(execution_id="x", spent_s=60)]
)
async def test_a_share_is_free_again_when_its_execution_is_ended(
    end: CancelExecution | TimeOutExecution,
) -> None:
    house = await opened("x")
    await begin_call(house, "x")
    assert await held(house) == LIMIT

    async def is_free() -> bool:
        return await held(house) == 1

    async with house.running(house.dispatcher().run()):
        await eventually(lambda: has_work(house))
        await house.commands.handle(end, ME)
        await eventually(is_free)


async def test_a_share_that_nobody_came_to_settle_is_no_reason_to_refuse_a_call() -> None:
    """No dispatcher runs."""
    house = await opened("x", "y")
    await begin_call(house, "x")
    await house.commands.handle(CancelExecution(execution_id="x"), ME)
    assert not (await begin_call(house, "y")).is_draining
    assert (await spending(house)).settled.model_calls == 1
    assert (await house.state("y")).status is Status.RUNNING


async def test_a_share_is_free_again_when_another_process_has_ended_its_execution() -> None:
    """Whoever is asked for it still remembers that it goes on."""
    house = await opened("x", "y")
    await begin_call(house, "x")
    api = CommandHandler(house.log, SystemClock())
    await api.handle(CancelExecution(execution_id="x"), ME)
    assert not (await begin_call(house, "y")).is_draining


async def test_a_share_that_is_needed_is_a_reason_to_refuse_a_call() -> None:
    house = await opened("x", "y")
    await begin_call(house, "x")
    assert (await begin_call(house, "y")).is_draining
    assert (await house.state("y")).status is Status.WAITING


async def test_a_call_that_comes_after_the_end_holds_nothing() -> None:
    house = await opened("x")
    await house.commands.handle(CancelExecution(execution_id="x"), ME)
    assert (await begin_call(house, "x")).is_over
    assert await held(house) == 0


async def test_what_a_paused_execution_does_not_need_is_free() -> None:
    house = await opened("x", "y")
    await begin_call(house, "x")
    await house.commands.handle(PauseExecution(execution_id="x"), ME)
    came_out = ModelCallFailed(**AT, call="c1", failure=Failure("x", "x"), duration_ms=1)
    await ask(house, RecordProgress(execution_id="x", step="crew", attempt=1, after=1, entries=(came_out,)))
    assert not (await begin_call(house, "y")).is_draining


def test_what_a_report_brings_an_answer_to_is_not_held_as_if_it_were_still_asked() -> None:
    estimate = Estimate(tokens=1_000, cost_usd=0)
    asked = ModelCallStarted(**AT, call="c1", model="demo/small", request=TEXT, estimate=estimate)
    again = msgspec.structs.replace(asked, call="c2")
    report = RecordProgress(
        execution_id="x", step="crew", attempt=1, after=1, entries=(model_call("c1", "answer"), again)
    )
    assert answered(booked(Account(), asked), report).own == Amounts(model_calls=1, tokens=2)
