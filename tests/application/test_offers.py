"""Offers: what a first claim would be granted, sent ahead of the work."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable

import msgspec
import pytest

from application.channel_messages import Request
from application.commands import CommandHandler
from application.dispatcher import OpenWork
from application.offering import MAX_LISTENERS, MAX_OFFER_BYTES
from domain.execution import CancelExecution, RecordProgress, StartStep, Status
from infrastructure.clock import SystemClock
from tests.application.house import ME, House, PlainEngine
from tests.application.test_runs import ended
from tests.domain.examples import blog
from tests.waiting import eventually


class Listening(House):
    """A house that notes what runners ask. roster: runners that were there before."""

    def __init__(self, roster: Iterable[str] = ("r",)) -> None:
        super().__init__()
        self.roster.update(roster)
        self.asked: list[type[object]] = []
        self.recovered = asyncio.Event()

    async def open_work(self) -> OpenWork:
        found = await super().open_work()
        self.recovered.set()
        return found

    async def answer(self, body: bytes) -> bytes:
        self.asked.append(type(msgspec.json.decode(body, type=Request).command))
        return await self.channel.answer(body)

    async def begin(self, topic: str = "tea") -> None:
        """The execution x, while a dispatcher follows; until its step is queued."""
        async with self.running(self.dispatcher().run()):
            await self.recovered.wait()  # what is there when it begins is queued without an offer
            await self.start("x", blog(), topic=topic)
            await eventually(lambda: bool(self.queue.held))

    async def work(self) -> None:
        """Until x has ended."""
        runner = self.runner("r", PlainEngine())
        runner._ask = self.answer  # what passes by is noted
        async with self.running(runner.run()):
            await eventually(ended(self, "x"))


async def test_a_runner_that_was_offered_its_step_asks_for_nothing() -> None:
    house = Listening()
    await house.begin()
    await house.work()
    assert set(house.asked) == {RecordProgress}
    step = (await house.state("x")).steps["crew"]
    assert (step.runner, step.attempt) == ("r", 1)


@pytest.mark.parametrize("roster", [(), [f"r{number}" for number in range(MAX_LISTENERS + 1)]])
async def test_nothing_is_offered_to_nobody_and_not_to_a_crowd(roster: Iterable[str]) -> None:
    house = Listening(roster)
    await house.begin()
    await house.work()
    assert house.asked[0] is StartStep


async def test_nothing_is_read_from_the_log_for_an_offer() -> None:
    house = Listening()
    async with house.running(house.dispatcher().run()):
        await house.recovered.wait()
        elsewhere = CommandHandler(house.log, SystemClock())
        house.commands, here = elsewhere, house.commands  # another process takes the command
        await house.start("x", blog(), topic="tea")
        house.commands = here
        await eventually(lambda: bool(house.queue.held))
    assert not house.offers
    await house.work()


async def test_what_is_large_has_to_be_asked_for() -> None:
    house = Listening()
    await house.begin("tea" * MAX_OFFER_BYTES)
    await house.work()
    assert house.asked[0] is StartStep


async def test_work_that_comes_again_is_claimed_ahead_of_it() -> None:
    """Somebody may have died of it."""
    house = Listening()
    await house.begin()
    delivery = await house.queue.take(["default"], timeout_s=60)
    assert delivery
    await delivery.hand_back()
    assert house.offers
    await house.work()
    assert house.asked[0] is StartStep


async def test_an_offer_of_an_execution_that_has_ended_since_records_nothing() -> None:
    house = Listening()
    await house.begin()
    assert house.offers
    await house.commands.handle(CancelExecution(execution_id="x"), ME)
    version = len(await house.log.read_stream("execution-x"))
    async with house.running(house.runner("r", PlainEngine()).run()):
        await eventually(lambda: not house.queue.held)
    assert len(await house.log.read_stream("execution-x")) == version
    assert (await house.state("x")).status is Status.CANCELLED
    assert not house.offers
