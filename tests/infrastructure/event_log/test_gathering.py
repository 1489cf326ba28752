"""Questions that come together are asked as one, and each is answered as if it had been alone."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import pytest

from infrastructure.event_log.gathering import AT_ONCE, Gathering
from infrastructure.event_log.opening import open_event_log
from infrastructure.event_log.schema import migrate
from tests.contracts.event_log_commands import a_command


class Asked:
    """Answers with twice the number, when it may; notes what was asked at once."""

    def __init__(self) -> None:
        self.questions: list[list[int]] = []
        self.may = asyncio.Event()

    async def ask(self, numbers: Sequence[int]) -> Sequence[int]:
        self.questions.append(list(numbers))
        await self.may.wait()
        if 13 in numbers:
            raise LookupError("13")
        return [2 * number for number in numbers]


async def test_what_comes_in_a_turn_goes_out_as_one() -> None:
    asked = Asked()
    asked.may.set()
    gathering = Gathering(asked.ask, 100)
    assert await asyncio.gather(*(gathering.answer(n) for n in range(10))) == [2 * n for n in range(10)]
    assert asked.questions == [list(range(10))]


async def test_what_comes_while_others_are_asked_goes_out_with_the_next() -> None:
    asked = Asked()
    gathering = Gathering(asked.ask, 4)
    answers = []
    for number in range(AT_ONCE + 6):
        answers.append(asyncio.create_task(gathering.answer(number)))
        await asyncio.sleep(0)
        await asyncio.sleep(0)
    assert asked.questions == [[number] for number in range(AT_ONCE)]
    asked.may.set()
    assert await asyncio.gather(*answers) == [2 * n for n in range(AT_ONCE + 6)]
    assert asked.questions[AT_ONCE:] == [[3, 4, 5, 6], [7, 8]]


async def test_a_failure_is_told_to_those_who_asked_and_who_has_gone_is_not_waited_for() -> None:
    asked = Asked()
    gathering = Gathering(asked.ask, 100)
    bad, gone = asyncio.create_task(gathering.answer(13)), asyncio.create_task(gathering.answer(14))
    await asyncio.sleep(0)
    gone.cancel()
    asked.may.set()
    with pytest.raises(LookupError):
        await bad
    assert gone.cancelled()
    assert await gathering.answer(1) == 2


async def test_streams_read_together_are_what_they_are_alone(postgres_url: str) -> None:
    migrate(postgres_url)
    log = await open_event_log(postgres_url)
    for number in range(1, 6):
        for version in range(number):
            await log.append(a_command(f"order-{number}", at=version))
    asked = [(f"order-{n}", after) for n in range(7) for after in (0, 1, 3)] + [("order-5", 0), ("x\0", 0)]
    together = await asyncio.gather(*(log.read_stream(*each) for each in asked))
    for (stream, after), events in zip(asked, together, strict=True):
        assert events == await log.read_stream(stream, after)
    assert [e.version for e in together[asked.index(("order-5", 3))]] == [4, 5]
    await log.close()
