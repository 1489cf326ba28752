"""A feed that has let go what was not heard yet: who followed it looks at what is open."""

from __future__ import annotations

import asyncio

from application.dispatcher import OpenWork
from application.timeouts import LimitedExecution
from application.timers import Alarms
from domain.definition import Definition, Limits
from domain.execution import Status
from infrastructure.clock import SystemClock
from tests.application.house import House, PlainEngine
from tests.application.test_timers import Watched
from tests.domain.examples import blog
from tests.waiting import eventually


class Lagging(Watched):
    """A house whose read tables know of nothing when they are looked at for the first time."""

    def __init__(self) -> None:
        super().__init__()
        self.looks = 0

    async def open_work(self) -> OpenWork:
        self.looks += 1
        return OpenWork(0, []) if self.looks == 1 else await super().open_work()

    async def limited(self) -> list[LimitedExecution]:
        return [] if self.looks == 1 else await super().limited()

    async def position(self) -> int:
        self.looks += 1
        return 0 if self.looks == 1 else await self.log.head()


async def unheard(house: House, definition: Definition) -> None:
    """An execution is requested whose events the feed had for a while."""
    await house.start("x", definition, topic="tea")
    async with house.running(asyncio.sleep(0)):
        await eventually(lambda: is_relayed(house))
    house.feed.let_go()


async def is_relayed(house: House) -> bool:
    return await house.feed.last_position() == await house.log.head()


async def test_a_dispatcher_hands_out_what_it_could_not_hear_of() -> None:
    house = Lagging()
    await unheard(house, blog())

    async def is_completed() -> bool:
        return await house.status() is Status.COMPLETED

    async with house.running(house.dispatcher().run(), house.runner("r", PlainEngine()).run()):
        await eventually(is_completed)
    assert house.looks == 2


async def test_alarms_are_set_for_what_they_could_not_hear_of() -> None:
    house = Lagging()
    await unheard(house, blog(limits=Limits(timeout_s=1)))

    async def is_timed_out() -> bool:
        return await house.status() is Status.TIMED_OUT

    alarms = Alarms(house.feed, house.timers, (house.timeouts,), house.position, SystemClock())
    async with house.running(alarms.run()):
        await eventually(is_timed_out)
    assert house.looks == 2
