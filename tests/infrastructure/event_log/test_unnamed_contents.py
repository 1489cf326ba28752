"""Large texts that no event names are removed once their execution has ended long ago, on both databases."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta

import pytest

from application.commands import CommandHandler, Context
from application.contents import Contents, parts_of, set_aside
from application.unnamed_contents import Found, remove_unnamed
from domain.execution import (
    EXECUTION,
    ArchiveExecution,
    CancelExecution,
    RecordProgress,
    RequestExecution,
    RetryExecution,
    StartStep,
    StepFailed,
)
from domain.execution.values import Failure
from infrastructure.clock import FixedClock
from infrastructure.event_log.held_contents import held_contents
from infrastructure.sealing.log import SealedEventLog
from tests.application.test_runs import model_call
from tests.domain.examples import blog
from tests.sealing import open_sealed_log

ENDED = datetime(2026, 1, 1, tzinfo=UTC)
LATER = ENDED + timedelta(days=1)
RUNNER = Context(actor="runner:r")
NAMED, SENT, HALF = "named " * 1_000, "sent ahead " * 1_000, "half of it " * 60_000
MORE_THAN_A_PAGE = 201


@pytest.fixture
async def log(event_log_url: str) -> AsyncIterator[SealedEventLog]:
    log = await open_sealed_log(event_log_url)
    yield log
    await log.close()


class Left:
    """An execution that names one text, and has a whole and a half one that no event names."""

    def __init__(self, log: SealedEventLog, url: str, execution_id: str = "x") -> None:
        self.log, self.url, self.id = log, url, execution_id
        self.clock = FixedClock(ENDED)
        self.commands = CommandHandler(log, self.clock)

    @property
    def owner(self) -> str:
        return f"execution-{self.id}"

    async def begin(self) -> None:
        wish = RequestExecution(
            execution_id=self.id, name="run", definition=blog(), inputs={"topic": "tea"}, models={}
        )
        await self.commands.handle(wish, RUNNER)
        await self.claim(turn=1)
        await self.put(SENT)
        await self.put(HALF, parts=1)

    async def claim(self, turn: int) -> int:
        """The number of the attempt that begins."""
        claim = StartStep(execution_id=self.id, step="crew", turn=turn, delivery=1, runner="r")
        await self.commands.handle(claim, RUNNER)
        return (await self.commands.state_of(EXECUTION, self.id)).steps["crew"].attempt

    async def put(self, text: str, parts: int | None = None) -> None:
        for part in parts_of(text)[:parts]:
            await Contents(self.log).put("default", self.owner, part)

    async def report(self, text: str, attempt: int) -> None:
        """A call whose answer was sent ahead."""
        entry, parts = set_aside(model_call("c", text, attempt=attempt))
        await self.put(text)
        assert await Contents(self.log).missing("default", self.owner, [parts[0].digest]) == ()
        report = RecordProgress(execution_id=self.id, step="crew", attempt=attempt, after=0, entries=(entry,))
        await self.commands.handle(report, RUNNER)

    async def fail(self) -> None:
        failed = StepFailed(step="crew", attempt=1, failure=Failure("auth", "no key"))
        report = RecordProgress(execution_id=self.id, step="crew", attempt=1, after=1, entries=(failed,))
        await self.commands.handle(report, RUNNER)

    async def removed(self, before: datetime = LATER, *, is_dry_run: bool = False) -> Found:
        async with held_contents(self.url) as held:
            return await remove_unnamed(self.log, held, before, is_dry_run=is_dry_run)

    async def is_there(self, *texts: str) -> list[bool]:
        digests = [parts_of(text)[0].digest for text in texts]
        there = {holding.digest for holding in await self.log.holdings("default", digests)}
        return [digest in there for digest in digests]


@pytest.fixture
async def left(log: SealedEventLog, event_log_url: str) -> Left:
    """It has failed, and can be retried."""
    left = Left(log, event_log_url)
    await left.begin()
    await left.report(NAMED, 1)
    await left.fail()
    return left


async def test_what_no_event_names_is_removed_and_the_rest_stays(left: Left) -> None:
    would = await left.removed(is_dry_run=True)
    assert would.contents == 2
    assert await left.is_there(NAMED, SENT, HALF) == [True, True, True]
    assert await left.removed() == would
    assert await left.is_there(NAMED, SENT, HALF) == [True, False, False]
    assert await left.removed() == Found()


async def test_what_ended_only_just_keeps_everything(left: Left) -> None:
    assert await left.removed(before=ENDED) == Found()


async def test_what_goes_on_keeps_everything(log: SealedEventLog, event_log_url: str) -> None:
    left = Left(log, event_log_url)
    await left.begin()
    assert await left.removed() == Found()
    await left.commands.handle(CancelExecution(execution_id="x"), RUNNER)
    assert (await left.removed()).contents == 2


async def test_archiving_is_no_reason_to_keep_anything(left: Left) -> None:
    left.clock.advance(timedelta(days=30))
    await left.commands.handle(ArchiveExecution(execution_id="x"), RUNNER)
    assert (await left.removed()).contents == 2


async def test_a_report_of_an_execution_that_is_retried_meanwhile_finds_what_it_sent(left: Left) -> None:
    """Between the look at the stream and the removal."""
    async with held_contents(left.url) as held:
        version = (await left.log.read_stream(left.owner))[-1].version
        digests = tuple(await held.sizes(left.owner))
        await left.commands.handle(RetryExecution(execution_id="x"), RUNNER)
        attempt = await left.claim(turn=2)
        assert not await held.remove(left.owner, digests, version)
        await left.report(SENT, attempt)
    assert await left.is_there(NAMED, SENT, HALF) == [True, True, True]


async def test_many_owners_are_gone_through_and_other_streams_are_left(
    log: SealedEventLog, event_log_url: str
) -> None:
    for number in range(MORE_THAN_A_PAGE):
        await Contents(log).put("default", f"another-{number:03}", parts_of(SENT)[0])
    last = Left(log, event_log_url, "z")
    await last.begin()
    await last.commands.handle(CancelExecution(execution_id="z"), RUNNER)
    assert (await last.removed()).contents == 2
    assert await last.is_there(SENT) == [True]
