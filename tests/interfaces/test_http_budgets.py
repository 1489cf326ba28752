"""Budgets over HTTP: what is shown of them, and how they are raised."""

from __future__ import annotations

from typing import Any

from application.commands import Context
from domain.amounts import Amounts
from domain.execution import (
    Content,
    Estimate,
    ModelCallCompleted,
    ModelCallStarted,
    Progress,
    RecordProgress,
    StartStep,
)
from domain.limits import DayBudget
from domain.spending import HoldShare
from interfaces.http.examples import BLOG
from tests.interfaces.stack import Stack

RUNNER = Context(actor="runner:r1")
WAIT = {"Prefer": "wait=10"}
TEXT = Content("d" * 64, 4, "text")
AT: dict[str, Any] = {"step": "crew", "attempt": 1, "task": "research"}


def asks(call: str) -> ModelCallStarted:
    estimate = Estimate(200, 0.5)
    return ModelCallStarted(**AT, call=call, model="demo/model", request=TEXT, estimate=estimate)


def answered(call: str, cost_usd: float = 0.25) -> ModelCallCompleted:
    return ModelCallCompleted(
        **AT,
        call=call,
        model="demo/model",
        response=TEXT,
        prompt_tokens=100,
        completion_tokens=20,
        cost_usd=cost_usd,
        duration_ms=9,
    )


async def worked(stack: Stack, limits: dict[str, Any], *reports: tuple[Progress, ...]) -> str:
    """An execution with such limits, after such reports."""
    workflow_id = await stack.workflow(limits=limits)
    execution_id = str((await stack.execution(workflow_id))["id"])
    claim = StartStep(execution_id=execution_id, step="crew", turn=1, delivery=1, runner="r1")
    await stack.commands.handle(claim, RUNNER)
    after = 0
    for entries in reports:
        report = RecordProgress(
            execution_id=execution_id, step="crew", attempt=1, after=after, entries=entries
        )
        await stack.commands.handle(report, RUNNER)
        after += len(entries)
    return execution_id


async def detail(stack: Stack, execution_id: str) -> dict[str, Any]:
    after = await stack.log.head()
    answer = await stack.client.get(f"/v1/executions/{execution_id}", params={"after": after})
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = answer.json()
    return found


async def test_detail_shows_what_is_spent_reserved_and_allowed(stack: Stack) -> None:
    limits = {"budget_usd": 2, "max_tokens": 1000}
    execution_id = await worked(stack, limits, (asks("1"), asks("2")), (answered("1"),))
    found = await detail(stack, execution_id)
    assert found["budget"] == {"budget_usd": 2, "max_tokens": 1000}
    assert (found["cost_usd"], found["model_calls"]) == (0.25, 2)
    assert (found["reserved_usd"], found["reserved_tokens"], list(found["reserved"])) == (0.5, 200, ["2"])
    params = {"workflow_id": found["workflow_id"]}
    (usage,) = (await stack.client.get("/v1/usage", params=params)).json()["items"]
    assert (usage["cost_usd"], usage["reserved_usd"], usage["reserved_tokens"]) == (0.25, 0.5, 200)
    await stack.client.post(f"/v1/executions/{execution_id}/cancel", headers=WAIT)
    found = await detail(stack, execution_id)
    assert (found["reserved_usd"], found["reserved"]) == (0, {})
    (usage,) = (await stack.client.get("/v1/usage", params=params)).json()["items"]
    assert (usage["reserved_usd"], usage["reserved_tokens"]) == (0, 0)


async def test_an_execution_waits_for_its_budget_and_goes_on_when_it_is_raised(stack: Stack) -> None:
    execution_id = await worked(stack, {"budget_usd": 0.6}, (asks("1"),), (asks("2"),))
    assert (await detail(stack, execution_id))["status"] == "WAITING"
    path = f"/v1/executions/{execution_id}/budget"
    raised = await stack.client.post(path, json={"budget_usd": 1.5}, headers=WAIT)
    assert (raised.status_code, raised.json()["status"]) == (202, "PENDING")
    found = await detail(stack, execution_id)
    assert (found["status"], found["budget"]) == ("PENDING", {"budget_usd": 1.5})
    history = (await stack.client.get(f"/v1/executions/{execution_id}/history")).json()["items"]
    types = [event["type"] for event in history[-3:]]
    assert types == ["execution.step_suspended", "execution.budget_raised", "execution.step_scheduled"]


async def test_a_budget_is_only_raised_and_only_where_there_is_one(stack: Stack) -> None:
    execution_id = await worked(stack, {"budget_usd": 0.6})
    path = f"/v1/executions/{execution_id}/budget"
    for body, at in (
        ({"budget_usd": 0.5}, "/budget_usd"),
        ({"max_tokens": 5}, "/max_tokens"),
        ({"budget_usd": -1}, "/budget_usd"),
        ({"budget": 1}, "/budget"),
    ):
        refused = await stack.client.post(path, json=body)
        assert refused.status_code == 422, refused.text
        assert [fault["pointer"] for fault in refused.json()["errors"]] == [at]
    await stack.client.post(f"/v1/executions/{execution_id}/cancel", headers=WAIT)
    assert (await stack.client.post(path)).json()["code"] == "rejected"
    assert (await stack.client.post("/v1/executions/nowhere/budget")).json()["code"] == "not_found"


async def test_a_limit_of_the_day_is_of_a_saved_workflow_and_raised_for_one_execution(stack: Stack) -> None:
    inline = {"definition": {**BLOG, "limits": {"per_day": {"max_tokens": 1}}}, "inputs": {"industry": "x"}}
    refused = await stack.client.post("/v1/executions", json=inline)
    assert [fault["pointer"] for fault in refused.json()["errors"]] == ["/definition/limits/per_day"]
    execution_id = await worked(stack, {"per_day": {"max_tokens": 100}})
    path = f"/v1/executions/{execution_id}/budget"
    refused = await stack.client.post(path, json={"per_day": {"max_tokens": 99, "budget_usd": 1}})
    pointers = [fault["pointer"] for fault in refused.json()["errors"]]
    assert pointers == ["/per_day/budget_usd", "/per_day/max_tokens"]
    await stack.client.post(path, json={"per_day": {"max_tokens": 200}}, headers=WAIT)
    assert (await detail(stack, execution_id))["per_day"] == {"max_tokens": 200}


async def test_limits_are_checked_with_the_document(stack: Stack) -> None:
    definition = {"name": "x", "agents": {}, "tasks": {}, "limits": {"budget_usd": 0, "max_dollars": 1}}
    refused = await stack.client.post("/v1/workflows", json=definition)
    pointers = {fault["pointer"] for fault in refused.json()["errors"]}
    assert {"/limits/budget_usd", "/limits/max_dollars"} <= pointers


async def test_running_time_is_limited_by_the_day_alone_and_within_bounds(stack: Stack) -> None:
    for limits, at in (
        ({"per_day": {"max_running_s": 0}}, "/limits/per_day/max_running_s"),
        ({"per_day": {"max_running_s": 1.5}}, "/limits/per_day/max_running_s"),
        ({"per_day": {"max_running_s": 1_000_000_001}}, "/limits/per_day/max_running_s"),
        ({"max_running_s": 60}, "/limits/max_running_s"),
    ):
        refused = await stack.client.post("/v1/workflows", json={**BLOG, "limits": limits})
        assert refused.status_code == 422, refused.text
        assert [fault["pointer"] for fault in refused.json()["errors"]] == [at]
    execution_id = await worked(stack, {"per_day": {"max_running_s": 3600}})
    assert (await detail(stack, execution_id))["per_day"] == {"max_running_s": 3600}
    path = f"/v1/executions/{execution_id}/budget"
    refused = await stack.client.post(path, json={"per_day": {"max_running_s": 60}})
    assert [fault["pointer"] for fault in refused.json()["errors"]] == ["/per_day/max_running_s"]
    await stack.client.post(path, json={"per_day": {"max_running_s": 7200}}, headers=WAIT)
    assert (await detail(stack, execution_id))["per_day"] == {"max_running_s": 7200}


async def test_what_is_taken_of_a_day_is_shown_by_workflow(stack: Stack) -> None:
    def hold(workflow_id: str) -> HoldShare:
        upto, at = Amounts(nano_usd=500_000_000, model_calls=1), stack.commands.now()
        return HoldShare(workflow_id, "2026-11-24", "e1", DayBudget(), Amounts(), upto, upto, at)

    for workflow_id in ("blog", "triage"):
        outcome = await stack.commands.handle(hold(workflow_id), RUNNER)
    params: dict[str, Any] = {"workflow_id": "blog", "last_day": "2026-11-24", "after": outcome.position}
    answer = await stack.client.get("/v1/usage/days", params=params)
    (day,) = answer.json()["items"]
    assert (day["workflow_id"], day["day"], day["executions"]) == ("blog", "2026-11-24", 1)
    assert day["held"] == {"cost_usd": 0.5, "tokens": 0, "model_calls": 1, "tool_calls": 0}
    none = await stack.client.get("/v1/usage/days", params={**params, "last_day": "2026-11-23"})
    assert none.json() == {"items": [], "next_cursor": None}


async def test_sums_of_money_have_no_remainder_of_floats(stack: Stack) -> None:
    calls = ("1", "2", "3")
    reports = [entries for call in calls for entries in ((asks(call),), (answered(call, 0.1),))]
    execution_id = await worked(stack, {}, *reports)
    found = await detail(stack, execution_id)
    (usage,) = (await stack.client.get("/v1/usage", params={"workflow_id": found["workflow_id"]})).json()[
        "items"
    ]
    assert found["cost_usd"] == usage["cost_usd"] == 0.3
