"""What all executions of a workflow spend on a day."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from domain.amounts import Amounts
from domain.errors import OverBudget
from domain.limits import DayBudget
from domain.spending import SPENDING, HoldShare, Ran, SettleShare, ShareHeld, ShareSettled, Spending
from tests.domain.spec import Spec

spec: Spec[Spending] = Spec(SPENDING)
LIMITS = DayBudget(max_tokens=100)
NOON = datetime(2026, 11, 24, 12, tzinfo=UTC)


def tokens(count: int) -> Amounts:
    return Amounts(tokens=count)


def hold(execution_id: str, upto: int, ahead: int = 0, base: int = 0) -> HoldShare:
    return HoldShare(
        workflow_id="w",
        day="2026-11-24",
        execution_id=execution_id,
        limits=LIMITS,
        base=tokens(base),
        upto=tokens(upto),
        ahead=tokens(ahead or upto),
        at=NOON,
    )


def settle(execution_id: str, upto: int) -> SettleShare:
    return SettleShare(workflow_id="w", day="2026-11-24", execution_id=execution_id, upto=tokens(upto))


def held(execution_id: str, upto: int, base: int = 0) -> ShareHeld:
    return ShareHeld(execution_id=execution_id, base=tokens(base), upto=tokens(upto))


def test_a_share_is_held_for_some_calls_ahead_where_there_is_room() -> None:
    spec.when(hold("a", 10, 50)).then(held("a", 50))
    spec.given(held("a", 50)).when(hold("a", 30)).then_nothing()
    spec.given(held("a", 50)).when(hold("b", 40, 60)).then(held("b", 40))


def test_no_share_is_held_beyond_the_limit() -> None:
    full = spec.given(held("a", 50), held("b", 50))
    full.when(hold("c", 1)).then_refused(OverBudget, "per_day, 2026-11-24: max_tokens is 100; .* 101")
    full.when(hold("a", 51)).then_refused(OverBudget, "101")


def test_a_share_begins_with_what_was_spent_before_the_day() -> None:
    spec.when(hold("a", 1_050, base=1_000)).then(held("a", 1_050, base=1_000))
    spec.given(held("a", 1_050, base=1_000)).when(hold("a", 1_100, base=1_040)).then(held("a", 1_100, 1_000))


def test_what_was_held_too_much_is_free_again() -> None:
    used = ShareSettled(execution_id="a", used=tokens(20))
    spec.given(held("a", 90)).when(settle("a", 20)).then(used)
    spec.given(held("a", 90), used).when(hold("b", 80)).then(held("b", 80))
    spec.given(held("a", 90), used).when(settle("a", 20)).then_nothing()


def test_a_share_that_is_held_again_begins_where_it_was_settled() -> None:
    used = ShareSettled(execution_id="a", used=tokens(20))
    again = spec.given(held("a", 90), used)
    again.when(hold("a", 101, base=20)).then_refused(OverBudget, "101")
    again.when(hold("a", 100, base=20)).then(held("a", 100, base=20))


def later(seconds: float) -> datetime:
    return NOON + timedelta(seconds=seconds)


def runs(execution_id: str, ran: Ran, after_s: float, limit_s: int | None = 60) -> HoldShare:
    """At so many seconds after noon; without a limit: a claim."""
    wanted, limits = hold(execution_id, 1), DayBudget(max_running_s=limit_s)
    return replace(wanted, limits=limits, at=later(after_s), ran=ran)


def ran_share(execution_id: str, ran: Ran, before: int = 0) -> ShareHeld:
    return replace(held(execution_id, 1), ran=ran, ran_before=before)


SINCE_NOON = Ran(since=NOON)


def test_what_runs_is_counted_up_to_the_moment_of_the_question() -> None:
    spec.when(runs("a", SINCE_NOON, 0)).then(ran_share("a", SINCE_NOON))
    beside = spec.given(ran_share("a", SINCE_NOON), ran_share("b", Ran(since=later(10))))
    beside.when(runs("a", SINCE_NOON, 34.9)).then_nothing()
    beside.when(runs("a", SINCE_NOON, 35)).then_refused(
        OverBudget, "per_day, 2026-11-24: max_running_s is 60; its executions were running for 60 s"
    )
    beside.when(runs("c", Ran(since=later(36)), 36)).then_refused(OverBudget, "for 62 s")


def test_a_step_begins_whatever_the_day_has_come_to() -> None:
    spec.given(ran_share("a", SINCE_NOON)).when(runs("b", Ran(since=later(99)), 99, None)).then(
        ran_share("b", Ran(since=later(99)))
    )


def test_what_has_ceased_to_run_counts_what_it_ran_and_once() -> None:
    ended = SettleShare("w", "2026-11-24", "a", upto=tokens(1), ran=Ran(59_000))
    settled = ShareSettled(execution_id="a", used=tokens(1), ran_ms=59_000)
    spec.given(ran_share("a", SINCE_NOON)).when(ended).then(settled)
    after = spec.given(ran_share("a", SINCE_NOON), settled)
    after.when(ended).then_nothing()
    again = Ran(59_000, later(100))
    after.when(runs("a", again, 100.9)).then(ran_share("a", again, before=59_000))
    after.when(runs("a", again, 101)).then_refused(OverBudget, "for 60 s")


def test_a_share_that_nobody_settled_is_put_right_when_its_execution_goes_on() -> None:
    """It waited from second 10 to 90."""
    again = Ran(10_000, later(90))
    left = spec.given(ran_share("a", SINCE_NOON))
    left.when(runs("b", Ran(since=later(90)), 90)).then_refused(OverBudget, "for 90 s")
    left.when(runs("a", again, 91)).then(ran_share("a", again))
    left.given(ran_share("a", again)).when(runs("b", Ran(since=later(90)), 91)).then(
        ran_share("b", Ran(since=later(90)))
    )


def test_time_is_counted_for_nobody_where_no_limit_asks_for_it() -> None:
    spec.given(ran_share("a", Ran())).when(runs("b", SINCE_NOON, 59)).then(ran_share("b", SINCE_NOON))


CALLS = st.lists(
    st.tuples(
        st.integers(0, 3),  # which execution
        st.integers(1, 60),  # tokens estimated
        st.floats(0, 1),  # how much of the estimate it comes to
        st.sampled_from(["answered", "lost", "crashed", "ended"]),
    ),
    max_size=60,
)


@settings(max_examples=300, deadline=None)
@given(CALLS, st.integers(0, 4))
def test_executions_beside_one_another_never_spend_more_than_the_day_allows(
    calls: list[tuple[int, int, float, str]], ahead: int
) -> None:
    """lost: made, and never heard of again; crashed: the share was held, the call was not recorded."""
    day, spent, lost = Spending(), [0] * 4, [0] * 4
    for number, estimated, part, how in calls:
        upto = spent[number] + lost[number] + estimated
        wanted = hold(str(number), upto, upto + ahead * estimated, base=spent[number])
        try:
            events: Any = SPENDING.decide(day, wanted)
        except OverBudget:
            continue
        for event in events:
            day = SPENDING.evolve(day, event)
        if how == "lost":
            lost[number] += estimated
        elif how != "crashed":
            spent[number] += int(estimated * part)
        if how == "ended":
            committed = spent[number] + lost[number]
            for event in SPENDING.decide(day, settle(str(number), committed)):
                day = SPENDING.evolve(day, event)
        assert sum(spent) + sum(lost) <= 100
    assert day.held_by_others("nobody").tokens <= 100
