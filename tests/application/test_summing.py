"""Streams without end: a process that loads one reads the last stretch of it, and knows the same."""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from application import summing
from application.commands import CommandHandler
from domain.message import Recorded
from domain.registry import event_of
from domain.slots import SLOTS, ChangeSlots, SlotRequest, SlotReturn, Slots, SlotsEvents
from infrastructure.clock import SystemClock
from infrastructure.event_log.memory import MemoryEventLog
from tests.application.house import ME

SUM = "slots.summed_up"


class CountedLog(MemoryEventLog):
    """read: events of streams that were read."""

    def __init__(self) -> None:
        super().__init__()
        self.read = 0

    async def read_stream(self, stream: str, after_version: int = 0) -> Sequence[Recorded]:
        found = await super().read_stream(stream, after_version)
        self.read += len(found)
        return found


def handler(log: MemoryEventLog) -> CommandHandler:
    """As a process that has just begun: it remembers nothing."""
    return CommandHandler(log, SystemClock())


def wants(*names: str, order: int = 1) -> ChangeSlots:
    return ChangeSlots(slots_id="w", requests=tuple(SlotRequest(each, order, limit=2) for each in names))


def returns(*names: str) -> ChangeSlots:
    return ChangeSlots(slots_id="w", returns=tuple(SlotReturn(each, 1_000_000) for each in names))


async def passed(commands: CommandHandler, count: int, begin: int = 0) -> None:
    """So many executions, one after another: three events each."""
    for number in range(begin, begin + count):
        await commands.handle(wants(f"e{number}", order=number + 1), ME)
        await commands.handle(returns(f"e{number}"), ME)


async def folded(log: MemoryEventLog) -> Slots:
    """The state from every event there is."""
    state = Slots()
    for recorded in await MemoryEventLog.read_stream(log, "slots-w"):
        state = SLOTS.evolve(state, cast("SlotsEvents", event_of(recorded)))
    return state


async def test_a_long_stream_is_read_from_its_last_sum() -> None:
    log = CountedLog()
    await passed(handler(log), 1_000)
    await handler(log).handle(wants("one", "two", "three", order=9_999), ME)
    tags = [event.tag for event in await log.read_stream("slots-w")]
    assert [number for number, tag in enumerate(tags) if tag == SUM] == [1_001, 2_001, 3_001]
    log.read = 0
    state = await handler(log).known_state(SLOTS, "w")
    assert 0 < log.read <= 10
    assert state == await folded(log)
    assert (sorted(state.holders), sorted(state.waiting)) == (["one", "two"], ["three"])


async def test_a_stream_of_an_earlier_release_is_read_whole_until_its_next_sum(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    log = CountedLog()
    with monkeypatch.context() as earlier:
        earlier.setattr(summing, "EVERY", 10**9)
        await passed(handler(log), 30)
    monkeypatch.setattr(summing, "EVERY", 20)
    assert await handler(log).known_state(SLOTS, "w") == await folded(log)
    assert log.read >= 90
    await passed(handler(log), 5, begin=30)
    log.read = 0
    assert await handler(log).known_state(SLOTS, "w") == await folded(log)
    assert log.read < 30


async def test_a_sum_that_fits_no_event_is_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(summing, "EVERY", 5)
    monkeypatch.setattr(summing, "MAX_EVENT_BYTES", 200)
    log = CountedLog()
    await handler(log).handle(wants(*(f"e{number}" for number in range(20))), ME)
    await passed(handler(log), 5, begin=20)
    assert SUM not in [event.tag for event in await log.read_stream("slots-w")]
    assert await handler(log).known_state(SLOTS, "w") == await folded(log)


names = st.sampled_from([f"e{number}" for number in range(6)])
commands = st.one_of(
    st.builds(lambda name, order: wants(name, order=order), names, st.integers(1, 50)),
    st.builds(returns, names),
)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(wishes=st.lists(commands, max_size=30), every=st.integers(1, 9))
async def test_processes_that_have_just_begun_decide_as_one_that_read_everything(
    wishes: list[ChangeSlots], every: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(summing, "EVERY", every)
    log, whole = CountedLog(), Slots()
    for wish in wishes:
        wanted = SLOTS.decide(whole, wish)
        outcome = await handler(log).handle(wish, ME)
        assert tuple(event for event in outcome.events if not hasattr(event, "newest")) == wanted
        for event in wanted:
            whole = SLOTS.evolve(whole, event)
    assert await folded(log) == whole
