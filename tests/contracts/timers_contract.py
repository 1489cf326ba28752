"""What every store of timers does. `test_timers.py` mounts it on each adapter, with a fixture `timers`."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta

from application.timers import Due, Timer, Timers

PATIENCE_S = 20.0


def a_timer(key: str = "e1", *, in_s: float = -1, kind: str = "step", payload: object = None) -> Timer:
    due = datetime.now(UTC) + timedelta(seconds=in_s)
    return Timer(kind=kind, key=key, due=due, payload=payload, tenant="acme")


async def rung(timers: Timers) -> Due:
    due = await timers.take(PATIENCE_S)
    assert due is not None
    return due


class TimersContract:
    async def test_a_timer_rings_as_it_was_set_and_not_before_its_time(self, timers: Timers) -> None:
        timer = a_timer("execution 1.2/step é", in_s=1.2, payload={"turn": 2})
        await timers.set(timer)
        due = await rung(timers)
        assert datetime.now(UTC) >= timer.due
        assert due.timer == timer

    async def test_a_time_that_has_passed_rings_at_once(self, timers: Timers) -> None:
        await timers.set(a_timer(in_s=-3600))
        assert (await rung(timers)).timer.key == "e1"

    async def test_what_is_done_does_not_ring_again(self, timers: Timers) -> None:
        await timers.set(a_timer())
        await (await rung(timers)).done()
        assert await timers.take(1) is None

    async def test_setting_again_replaces(self, timers: Timers) -> None:
        await timers.set(a_timer(in_s=3600, payload="first"))
        await timers.set(a_timer(payload="second"))
        due = await rung(timers)
        await due.done()
        assert due.timer.payload == "second"
        assert await timers.take(1) is None

    async def test_kinds_have_names_of_their_own(self, timers: Timers) -> None:
        await timers.set(a_timer(kind="step"))
        await timers.set(a_timer(kind="timeout"))
        assert {(await rung(timers)).timer.kind for _ in range(2)} == {"step", "timeout"}

    async def test_a_cancelled_timer_does_not_ring(self, timers: Timers) -> None:
        await timers.set(a_timer("gone", in_s=1.5))
        await timers.set(a_timer("kept", in_s=1.5))
        await timers.cancel("step", "gone")
        await timers.cancel("step", "was never there")
        assert (await rung(timers)).timer.key == "kept"
        assert await timers.take(1) is None

    async def test_each_rings_for_one_of_many_takers(self, timers: Timers) -> None:
        await asyncio.gather(*(timers.set(a_timer(str(number))) for number in range(100)))
        keys = [(await rung(timers)).timer.key for _ in range(100)]
        assert sorted(keys) == sorted(map(str, range(100)))

    async def test_an_incarnation_stays_while_nothing_is_lost(self, timers: Timers) -> None:
        before = await timers.incarnation()
        await timers.set(a_timer(in_s=3600))
        assert await timers.incarnation() == before
