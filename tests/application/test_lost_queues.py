"""A work queue that loses its store while steps are under way: nobody begins twice what a runner has."""

from __future__ import annotations

import asyncio
from collections import Counter

from application.ports import Assignment
from domain.execution import Status
from tests.application.house import House, PlainEngine
from tests.domain.examples import blog
from tests.waiting import eventually


async def test_a_runner_that_is_given_its_own_work_again_does_not_begin_it_again() -> None:
    house, gate, begun = House(lease_s=3600), asyncio.Event(), Counter[str]()

    async def before(assignment: Assignment, task: str) -> None:
        begun[task] += 1
        await gate.wait()

    async def is_taken_again() -> bool:
        return any(held.deliveries for held in house.queue.held.values())

    async def is_completed() -> bool:
        return (await house.state("x")).status is Status.COMPLETED

    async def nothing_is_left() -> bool:
        return not house.queue.held

    await house.start("x", blog(), topic="tea")
    runner = house.runner("r", PlainEngine(before))
    async with house.running(house.dispatcher().run(), runner.run()):
        await eventually(lambda: begun["research"])
        await house.queue.lose()
        await eventually(is_taken_again)
        gate.set()
        await eventually(is_completed)
        await eventually(nothing_is_left)
    assert begun == {"research": 1, "draft": 1, "edit": 1}
