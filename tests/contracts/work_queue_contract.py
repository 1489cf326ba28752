"""What every work queue does. `test_work_queue.py` mounts it on each adapter, with a fixture `queue`.

The lease of the fixture is LEASE_S.
"""

from __future__ import annotations

import asyncio
from collections import Counter

import msgspec

from application.ports import Delivery, Work, WorkQueue

LEASE_S = 1.0
PATIENCE_S = 20.0


def a_step(
    execution: str = "e1", step: str = "write", turn: int = 1, queue: str = "default", priority: int = 5
) -> Work:
    return Work(
        execution_id=execution,
        step=step,
        turn=turn,
        queue=queue,
        priority=priority,
        tenant="acme",
        correlation_id="story",
        traceparent="00-1-2-01",
    )


async def taken(queue: WorkQueue, *queues: str) -> Delivery:
    delivery = await queue.take(queues or ("default",), PATIENCE_S)
    assert delivery is not None
    return delivery


async def nothing(queue: WorkQueue, *queues: str, within_s: float = 0.3) -> bool:
    return await queue.take(queues or ("default",), within_s) is None


class WorkQueueContract:
    async def test_work_is_taken_as_it_was_given(self, queue: WorkQueue) -> None:
        await queue.enqueue(a_step())
        delivery = await taken(queue)
        assert (delivery.work, delivery.number) == (a_step(), 1)

    async def test_there_is_nothing_where_nothing_was_put(self, queue: WorkQueue) -> None:
        assert await nothing(queue)
        assert await queue.take(["default"], 0) is None

    async def test_work_is_taken_in_its_order(self, queue: WorkQueue) -> None:
        for number in range(20):
            await queue.enqueue(a_step(f"e{number}"))
        got = [(await taken(queue)).work.execution_id for _ in range(20)]
        assert got == [f"e{number}" for number in range(20)]

    async def test_taken_work_is_nobody_elses(self, queue: WorkQueue) -> None:
        await queue.enqueue(a_step())
        await taken(queue)
        assert await nothing(queue)

    async def test_the_same_turn_of_a_step_is_held_once(self, queue: WorkQueue) -> None:
        await queue.enqueue(a_step())
        await queue.enqueue(a_step())
        await taken(queue)
        await queue.enqueue(a_step())
        assert await nothing(queue)

    async def test_another_turn_step_or_execution_is_other_work(self, queue: WorkQueue) -> None:
        steps = [a_step(), a_step(turn=2), a_step(step="write:1"), a_step(step="write", execution="e1:write")]
        for step in steps:
            await queue.enqueue(step)
        assert [(await taken(queue)).work for _ in steps] == steps

    async def test_names_may_be_any_text(self, queue: WorkQueue) -> None:
        step = a_step("e 1.>*", "schön ☃", queue="gpu.large *")
        await queue.enqueue(step)
        assert (await taken(queue, "gpu.large *")).work == step

    async def test_work_that_is_done_never_comes_again(self, queue: WorkQueue) -> None:
        await queue.enqueue(a_step())
        await (await taken(queue)).done()
        assert await nothing(queue, within_s=2 * LEASE_S)

    async def test_work_comes_again_when_its_lease_is_lost(self, queue: WorkQueue) -> None:
        await queue.enqueue(a_step())
        await taken(queue)
        again = await taken(queue)
        assert (again.work, again.number) == (a_step(), 2)

    async def test_an_emptied_queue_holds_nothing_and_takes_the_same_work_again(
        self, queue: WorkQueue
    ) -> None:
        await queue.empty()
        await queue.enqueue(a_step("e1"))
        await queue.enqueue(a_step("e2"))
        await taken(queue)
        await queue.empty()
        assert await nothing(queue, within_s=2 * LEASE_S)
        again = msgspec.structs.replace(a_step("e1"), delivered=3)
        await queue.enqueue(again)
        delivery = await taken(queue)
        assert (delivery.work, delivery.number) == (again, 4)
        await delivery.hand_back()
        assert (await taken(queue)).number == 5

    async def test_what_was_taken_before_the_queue_was_emptied_ends_without_an_effect(
        self, queue: WorkQueue
    ) -> None:
        await queue.enqueue(a_step())
        before = await taken(queue)
        await queue.empty()
        await queue.enqueue(a_step())
        await before.done()
        assert (await taken(queue)).number == 1

    async def test_a_lease_is_kept_as_long_as_it_is_extended(self, queue: WorkQueue) -> None:
        await queue.enqueue(a_step())
        delivery = await taken(queue)
        for _ in range(6):
            await delivery.extend()
            assert await nothing(queue, within_s=LEASE_S / 3)

    async def test_work_that_is_handed_back_comes_at_once(self, queue: WorkQueue) -> None:
        await queue.enqueue(a_step())
        taking = asyncio.create_task(taken(queue))
        await (await taking).hand_back()
        async with asyncio.timeout(LEASE_S * 0.8):
            assert (await taken(queue)).number == 2

    async def test_work_that_is_handed_back_with_a_delay_comes_after_it(self, queue: WorkQueue) -> None:
        await queue.enqueue(a_step())
        await (await taken(queue)).hand_back(0.5)
        assert await nothing(queue, within_s=0.2)
        assert (await taken(queue)).number == 2

    async def test_who_waits_gets_new_work(self, queue: WorkQueue) -> None:
        taking = asyncio.create_task(taken(queue))
        assert await nothing(queue, "other", within_s=0.1)
        await queue.enqueue(a_step())
        assert (await taking).work == a_step()

    async def test_queues_are_apart(self, queue: WorkQueue) -> None:
        await queue.enqueue(a_step(queue="gpu"))
        assert await nothing(queue, "default")
        assert (await taken(queue, "default", "gpu")).work.queue == "gpu"

    async def test_a_full_queue_does_not_starve_another(self, queue: WorkQueue) -> None:
        for name in ("a", "b", "c"):
            for number in range(20):
                await queue.enqueue(a_step(f"{name}{number}", queue=name))
        got = [(await taken(queue, "a", "b", "c")).work.queue for _ in range(15)]
        assert Counter(got) == {"a": 5, "b": 5, "c": 5}

    async def test_high_priority_overtakes_thousands(self, queue: WorkQueue) -> None:
        for number in range(2_000):
            await queue.enqueue(a_step(f"low{number}", priority=2))
        await queue.enqueue(a_step("high", priority=9))
        assert (await taken(queue)).work.execution_id == "high"
        assert (await taken(queue)).work.execution_id == "low0"

    async def test_each_priority_goes_before_those_below(self, queue: WorkQueue) -> None:
        for priority in (3, 0, 9, 5):
            await queue.enqueue(a_step(f"e{priority}", priority=priority))
        assert [(await taken(queue)).work.priority for _ in range(4)] == [9, 5, 3, 0]

    async def test_a_flood_of_high_priority_starves_nothing_below(self, queue: WorkQueue) -> None:
        for number in range(200):
            await queue.enqueue(a_step(f"high{number}", priority=9))
        for priority in (0, 4, 5):
            await queue.enqueue(a_step(f"low{priority}", priority=priority))
        got = [(await taken(queue)).work.priority for _ in range(100)]
        assert {0, 4, 5} < set(got)
        assert got.count(9) == 97

    async def test_who_waits_gets_what_comes_whatever_its_priority(self, queue: WorkQueue) -> None:
        for priority in (0, 9, 5, 1):
            taking = asyncio.create_task(taken(queue))
            assert await nothing(queue, "other", within_s=0.05)
            await queue.enqueue(a_step(f"e{priority}", priority=priority))
            assert (await taking).work.priority == priority

    async def test_who_waits_for_several_queues_gets_new_work_of_any(self, queue: WorkQueue) -> None:
        for number, name in enumerate(("a", "b", "b", "a")):
            taking = asyncio.create_task(taken(queue, "a", "b"))
            assert await nothing(queue, "other", within_s=0.1)
            await queue.enqueue(a_step(f"e{number}", queue=name))
            assert (await taking).work.execution_id == f"e{number}"

    async def test_many_takers_share_the_work_without_overlap(self, queue: WorkQueue) -> None:
        async def worker() -> list[str]:
            mine = []
            while (delivery := await queue.take(["a", "b"], 0.5)) is not None:
                mine.append(delivery.work.execution_id)
                await delivery.done()
            return mine

        workers = [asyncio.create_task(worker()) for _ in range(8)]
        for number in range(200):
            await queue.enqueue(a_step(f"e{number}", queue="ab"[number % 2]))
        done = [execution for mine in await asyncio.gather(*workers) for execution in mine]
        assert Counter(done) == {f"e{number}": 1 for number in range(200)}

    async def test_a_taker_that_gave_up_takes_nothing_with_it(self, queue: WorkQueue) -> None:
        taking = asyncio.create_task(taken(queue))
        assert await nothing(queue, "other", within_s=0.1)
        taking.cancel()
        await queue.enqueue(a_step())
        async with asyncio.timeout(LEASE_S * 0.8):
            assert (await taken(queue)).work == a_step()

    async def test_its_incarnation_stays_while_its_store_does(self, queue: WorkQueue) -> None:
        before = await queue.incarnation()
        await queue.enqueue(a_step())
        assert await queue.incarnation() == before
