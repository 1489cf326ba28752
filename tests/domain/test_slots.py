"""Slots of a concurrency key: never more than the limit, by priority and then by start, none lost."""

from __future__ import annotations

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from domain.slots import (
    SLOTS,
    ChangeSlots,
    SlotRequest,
    SlotReturn,
    Slots,
    SlotsGranted,
    SlotsRequested,
    SlotsReturned,
    SlotsSummedUp,
    decide,
    evolve,
    sum_up,
)
from tests.domain.spec import Spec

spec = Spec(SLOTS)


def wish(name: str, order: int, *, limit: int = 1, priority: int = 5) -> SlotRequest:
    return SlotRequest(execution_id=name, order=order, limit=limit, priority=priority)


def change(*requests: SlotRequest, returns: tuple[str, ...] = (), at: int = 1_000) -> ChangeSlots:
    """returns: of executions that have ended at a position."""
    ends = tuple(SlotReturn(name, at) for name in returns)
    return ChangeSlots(slots_id="w", requests=requests, returns=ends)


a, b, c = wish("a", 1), wish("b", 2), wish("c", 3)
a_holds = spec.given(SlotsRequested(requests=(a,)), SlotsGranted(executions=("a",)))
b_waits = a_holds.given(SlotsRequested(requests=(b,)))


def test_a_free_slot_is_granted_at_once() -> None:
    spec.when(change(a)).then(SlotsRequested(requests=(a,)), SlotsGranted(executions=("a",)))


def test_beyond_the_limit_an_execution_waits() -> None:
    a_holds.when(change(b)).then(SlotsRequested(requests=(b,)))


def test_a_returned_slot_goes_to_the_next() -> None:
    b_waits.when(change(returns=("a",))).then(
        SlotsReturned(executions=("a",)), SlotsGranted(executions=("b",))
    )


def test_a_request_or_return_that_comes_again_changes_nothing() -> None:
    b_waits.when(change(a, b, returns=("x",))).then_nothing()


def test_an_execution_that_was_retried_asks_again() -> None:
    """Its end and its new request may come together, in any order, or the end may come late or never."""
    again, ended = wish("a", 9), SlotsReturned(executions=("a",))
    asked = (ended, SlotsRequested(requests=(again,)), SlotsGranted(executions=("b",)))
    b_waits.when(change(again, returns=("a",), at=5)).then(*asked)
    b_waits.when(change(again)).then(*asked)
    b_waits.given(*asked).when(change(returns=("a",), at=5)).then_nothing()


def test_what_ended_before_it_was_asked_for_asks_for_nothing() -> None:
    spec.when(change(a, returns=("a",))).then_nothing()


def test_who_waits_can_give_up() -> None:
    b_waits.when(change(returns=("b",))).then(SlotsReturned(executions=("b",)))


def test_priority_goes_before_the_order_of_starts() -> None:
    urgent = wish("urgent", 9, priority=8)
    waiting = a_holds.given(SlotsRequested(requests=(c, b, urgent)))
    waiting.when(change(returns=("a",))).then(
        SlotsReturned(executions=("a",)), SlotsGranted(executions=("urgent",))
    )
    rest = waiting.given(SlotsReturned(executions=("a",)), SlotsGranted(executions=("urgent",)))
    rest.when(change(returns=("urgent",))).then(
        SlotsReturned(executions=("urgent",)), SlotsGranted(executions=("b",))
    )


def test_the_limit_is_that_of_the_newest_start() -> None:
    wider = wish("d", 4, limit=3)
    b_waits.when(change(wider)).then(SlotsRequested(requests=(wider,)), SlotsGranted(executions=("b", "d")))
    late = wish("late", 2, limit=1)
    b_waits.given(SlotsRequested(requests=(wider,))).when(change(late)).then(
        SlotsRequested(requests=(late,)), SlotsGranted(executions=("b", "late"))
    )


names = st.sampled_from([f"e{number}" for number in range(6)])
wishes = st.builds(wish, names, st.integers(1, 50), limit=st.integers(1, 3), priority=st.integers(0, 9))
changes = st.builds(
    lambda requests, returns: change(*requests, returns=tuple(returns)),
    st.lists(wishes, max_size=4),
    st.lists(names, max_size=4),
)


def stored(event: SlotsSummedUp) -> SlotsSummedUp:
    return msgspec.json.decode(msgspec.json.encode(event), type=SlotsSummedUp)


@given(st.lists(changes, max_size=12))
def test_whatever_comes_nobody_is_granted_beyond_the_limit_and_none_waits_beside_a_free_slot(
    commands: list[ChangeSlots],
) -> None:
    state = Slots()
    for command in commands:
        for event in decide(state, command):
            state = evolve(state, event)
            assert evolve(Slots(), stored(sum_up(state))) == state
            if isinstance(event, SlotsGranted):
                assert len(state.holders) <= state.limit
        assert not state.waiting or len(state.holders) >= state.limit
        assert not state.holders & state.waiting.keys()
        if not command.returns:
            assert decide(state, command) == ()
