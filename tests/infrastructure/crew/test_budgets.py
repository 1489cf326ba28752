"""Budgets of whole crews: what is refused is never sent, and what waits goes on when it may."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import TYPE_CHECKING, Any

import msgspec
import pytest

from application.requests import create_workflow, run_workflow
from domain.catalog import Model, PlantEntry
from domain.definition import Definition
from domain.execution import (
    BudgetRaised,
    ExecutionCompleted,
    ExecutionFailed,
    ModelCallCompleted,
    ModelCallStarted,
    RaiseBudget,
    Status,
    StepSuspended,
)
from domain.limits import Budget, DayBudget
from tests.application.house import ME
from tests.infrastructure.crew.crews import document
from tests.infrastructure.crew.whole_runs import WholeRuns
from tests.model_server import ModelServer, Turn
from tests.waiting import eventually

if TYPE_CHECKING:
    from infrastructure.crew.engine import CrewAIEngine

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning:crewai")
PRICED, UNPRICED = "openai/priced", "openai/nobody-knows-it"
PRICE = 1e-4
LONGEST = 100


def crew(**limits: Any) -> Definition:
    """Two tasks side by side, and one that sees both; a call each."""
    tasks: dict[str, dict[str, Any]] = {
        "left": {"description": "Go left", "async_execution": True, "context": []},
        "right": {"description": "Go right", "async_execution": True, "context": []},
        "both": {"description": "Join them", "context": ["left", "right"]},
    }
    model = limits.pop("model", PRICED)
    writer = {"role": "Writer", "goal": "Write plainly", "backstory": "A former reporter", "model": model}
    return document(tasks, agents={"writer": writer}, limits=limits)


@pytest.fixture
async def house(engine: CrewAIEngine, model: ModelServer) -> AsyncIterator[WholeRuns]:
    model.answer = lambda _: Turn(text="Final Answer: done", delay_s=0.05)
    house = WholeRuns()
    priced = Model(name=PRICED, max_tokens=LONGEST, input_cost_per_token=PRICE, output_cost_per_token=PRICE)
    for entry in (priced, Model(name=UNPRICED)):
        await house.commands.handle(PlantEntry(kind="models", entry=entry), ME)
    async with house.running(house.dispatcher().run(), house.runner("r", engine).run()):
        yield house


async def waiting(house: WholeRuns, execution_id: str) -> str:
    """What it waits for, once it does."""

    async def is_waiting() -> bool:
        return (await house.state(execution_id)).status is Status.WAITING

    await eventually(is_waiting, 60)
    (wait,) = [step.wait for step in (await house.state(execution_id)).steps.values()]
    assert wait is not None
    assert wait.kind == "budget"
    return wait.message


async def settled(house: WholeRuns, execution_id: str) -> bool:
    """Whether every call that was sent has been counted."""
    return not (await house.state(execution_id)).account.reserved


async def raise_to(house: WholeRuns, execution_id: str, **limits: Any) -> None:
    await house.commands.handle(RaiseBudget(execution_id=execution_id, budget=Budget(**limits)), ME)


async def test_a_refused_call_is_never_sent_and_the_rest_is_done_when_it_may(
    house: WholeRuns, model: ModelServer
) -> None:
    await house.start("x", crew(max_model_calls=2))
    assert "max_model_calls is 2" in await waiting(house, "x")
    assert len(model.requests) == 2
    await raise_to(house, "x", max_model_calls=3)
    events = await house.run("x")
    assert isinstance(events[-1], ExecutionCompleted)
    assert len(model.requests) == 3
    assert len([event for event in events if isinstance(event, BudgetRaised)]) == 1


async def test_two_calls_at_once_do_not_overshoot_together(house: WholeRuns, model: ModelServer) -> None:
    await house.start("x", crew())
    events = await house.run("x")
    estimates = [event.estimate for event in events if isinstance(event, ModelCallStarted)]
    costs = [event.cost_usd for event in events if isinstance(event, ModelCallCompleted)]
    assert all(each and each.cost_usd and each.cost_usd > max(costs) for each in estimates)
    model.requests.clear()
    one_and_a_half = 1.5 * max(each.cost_usd for each in estimates if each and each.cost_usd)
    await house.start("y", crew(budget_usd=one_and_a_half))
    assert "budget_usd is" in await waiting(house, "y")
    await eventually(lambda: settled(house, "y"), 30)
    sent = len(model.requests)  # both are refused where they were asked for in one report
    assert sent <= 1
    assert (await house.state("y")).account.spent.nano_usd == sent * round(costs[0] * 1e9)
    await raise_to(house, "y", budget_usd=1)
    assert isinstance((await house.run("y"))[-1], ExecutionCompleted)
    assert len(model.requests) == 3


async def test_a_workflow_that_says_so_fails(house: WholeRuns, model: ModelServer) -> None:
    await house.start("x", crew(max_tokens=10, on_exceeded="fail"))
    events = await house.run("x")
    assert isinstance(events[-1], ExecutionFailed)
    assert events[-1].failure.code == "budget_exceeded"
    assert model.requests == []
    assert not any(isinstance(event, StepSuspended) for event in events)


async def test_money_is_not_spent_on_a_model_whose_price_nobody_knows(
    house: WholeRuns, model: ModelServer
) -> None:
    await house.start("x", crew(budget_usd=1, model=UNPRICED))
    events = await house.run("x")
    assert isinstance(events[-1], ExecutionFailed)
    assert events[-1].failure.code == "model_unpriced"
    assert model.requests == []
    await house.start("y", crew(max_tokens=1_000_000, model=UNPRICED))
    assert isinstance((await house.run("y"))[-1], ExecutionCompleted)


async def test_the_executions_of_a_day_share_its_budget(house: WholeRuns, model: ModelServer) -> None:
    document = msgspec.json.decode(msgspec.json.encode(crew(per_day={"max_model_calls": 5})))
    await house.commands.handle(create_workflow("w", document), ME)
    await house.commands.handle(run_workflow("x", "w", {}), ME)
    assert isinstance((await house.run("x"))[-1], ExecutionCompleted)
    await house.commands.handle(run_workflow("y", "w", {}), ME)
    why = await waiting(house, "y")
    assert "per_day, " in why
    assert "max_model_calls is 5; with this call it would come to 6" in why
    assert len(model.requests) == 5
    raised = RaiseBudget(execution_id="y", per_day=DayBudget(max_model_calls=6))
    await house.commands.handle(raised, ME)
    assert isinstance((await house.run("y"))[-1], ExecutionCompleted)
    assert len(model.requests) == 6


async def test_answers_are_as_long_as_the_budget_reckons_with(house: WholeRuns, model: ModelServer) -> None:
    for name, limits in (("x", {"max_tokens": 1_000_000}), ("y", {})):
        await house.start(name, crew(model=UNPRICED, **limits))
        await house.run(name)
    assert [request.get("max_tokens") for request in model.requests] == [4_096] * 3 + [None] * 3
