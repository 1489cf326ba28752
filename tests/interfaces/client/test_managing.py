"""The client's schedules, subscriptions and the rarer wishes, against the real API."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest

from interfaces.client import AsyncKasal, Conflict, Kasal, NotFound
from interfaces.http.examples import BLOG
from tests.interfaces.stack import Stack

PLAN = {"name": "Nightly", "cron": "0 2 * * *", "inputs": {"industry": "tea"}}
HOOK = "http://127.0.0.1:9/hook"


@pytest.fixture
async def kasal(stack: Stack) -> AsyncIterator[AsyncKasal]:
    async with AsyncKasal(stack.url) as client:
        yield client


async def test_a_schedule_is_made_switched_off_and_deleted(kasal: AsyncKasal) -> None:
    plan = {**PLAN, "workflow_id": (await kasal.create_workflow(BLOG)).id}
    made = await kasal.create_schedule(plan)
    assert (await kasal.schedule(made.id))["next_slot"]
    assert (await kasal.revise_schedule(made.id, {**plan, "enabled": False})).version == 2
    assert (await kasal.schedule(made.id))["next_slot"] is None
    assert made.id in [item["id"] async for item in kasal.schedules(limit=1)]
    await kasal.delete_schedule(made.id)
    with pytest.raises(NotFound):
        await kasal.schedule(made.id)


async def test_a_subscription_is_made_paused_resumed_and_deleted(kasal: AsyncKasal) -> None:
    made = await kasal.create_subscription(HOOK, {"types": ["workflow.*"]}, description="Mine", after=0)
    assert made.secret
    await kasal.pause_subscription(made.id)
    assert (await kasal.subscription(made.id))["standing"] == "PAUSED"
    await kasal.resume_subscription(made.id, after=1)
    rotated = await kasal.rotate_secret(made.id, overlap_s=60)
    assert rotated.secret not in (None, made.secret)
    await kasal.test_subscription(made.id)
    await kasal.revise_subscription(made.id, HOOK)
    assert (await kasal.subscription(made.id))["description"] == ""
    assert [item async for item in kasal.dead_letters(made.id)] == []
    await kasal.replay_dead_letters(made.id)
    assert made.id in [item["id"] async for item in kasal.subscriptions()]
    await kasal.delete_subscription(made.id)
    with pytest.raises(NotFound):
        await kasal.subscription(made.id)


async def test_only_what_failed_is_retried_and_a_what_if_is_another_execution(kasal: AsyncKasal) -> None:
    started = await kasal.start(BLOG, {"industry": "tea"})
    with pytest.raises(Conflict):
        await kasal.retry(started.id)
    asked = await kasal.what_if(started.id, overrides={"model": "demo/other"}, name="What if")
    found = await kasal.execution(asked.id)
    assert (found.name, found.raw["forked_from"]["is_what_if"]) == ("What if", True)


async def test_what_has_ended_is_erased(kasal: AsyncKasal) -> None:
    started = await kasal.start(BLOG, {"industry": "tea"})
    with pytest.raises(Conflict):
        await kasal.erase(started.id)
    await kasal.cancel(started.id)
    await kasal.erase(started.id, "asked for it")
    found = await kasal.execution(started.id)
    assert found.raw["erased_at"]
    assert found.raw["inputs"] == {}


async def test_a_budget_is_raised_without_asyncio(stack: Stack) -> None:
    def run() -> int:
        with Kasal(stack.url) as kasal:
            started = kasal.start({**BLOG, "limits": {"budget_usd": 1}}, {"industry": "tea"})
            kasal.raise_budget(started.id, {"budget_usd": 9})
            budget = kasal.execution(started.id).raw["budget"]
            return int(budget["budget_usd"])

    assert await asyncio.to_thread(run) == 9
