"""What is shown of the limits of a day: who holds how much of them, and what is spent for good."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from domain.amounts import Amounts
from domain.limits import DayBudget
from domain.spending import HoldShare, Ran, SettleShare
from projections.database import ReadDatabase
from projections.day_spending import DAY_SPENDING, list_day_spending
from projections.projection import timestamp
from projections.verification import verify
from tests.projections.databases import caught_up, read_db, read_url
from tests.projections.histories import START, History
from tests.projections.test_lists import items, walked

__all__ = ["read_db", "read_url"]

DAY = "2026-11-24"
LIMITS = DayBudget(budget_usd=20, max_tokens=1_000, max_running_s=3_600)


def amounts(calls: int) -> Amounts:
    """Of so many model calls."""
    return Amounts(nano_usd=calls * 250_000_001, tokens=calls * 100, model_calls=calls, tool_calls=1)


def hold(
    execution_id: str, upto: int, *, workflow_id: str = "blog", day: str = DAY, **more: Any
) -> HoldShare:
    known: dict[str, Any] = {"base": Amounts(), "ahead": amounts(upto), "at": START, "ran": Ran(), **more}
    return HoldShare(workflow_id, day, execution_id, limits=LIMITS, upto=amounts(upto), **known)


def settle(execution_id: str, upto: int, ran: Ran | None = None) -> SettleShare:
    return SettleShare("blog", DAY, execution_id, upto=amounts(upto), ran=ran or Ran())


async def shown(read_db: ReadDatabase, history: History, **filters: Any) -> list[dict[str, Any]]:
    await caught_up(read_db, [DAY_SPENDING], history)
    return items(await list_day_spending(read_db, "default", **filters))


@pytest.fixture
def history() -> History:
    return History()


async def test_what_is_held_is_told_from_what_is_spent(read_db: ReadDatabase, history: History) -> None:
    history.handle(hold("one", 4))
    history.handle(hold("two", 2))
    history.handle(settle("one", 3))
    (day,) = await shown(read_db, history)
    assert (day["workflow_id"], day["day"], day["executions"]) == ("blog", DAY, 1)
    assert day["settled"] == {"cost_usd": 0.750000003, "tokens": 300, "model_calls": 3, "tool_calls": 1}
    assert day["held"] == {"cost_usd": 0.500000002, "tokens": 200, "model_calls": 2, "tool_calls": 1}
    assert day["at"] == timestamp(history.events[-1].metadata.at)
    history.handle(settle("two", 2))
    (day,) = await shown(read_db, history)
    assert (day["settled"]["tokens"], day["held"]["tokens"], day["executions"]) == (500, 0, 0)


async def test_what_an_execution_spent_on_the_day_before_is_not_of_this_one(
    read_db: ReadDatabase, history: History
) -> None:
    history.handle(hold("one", 5, base=amounts(3)))
    (day,) = await shown(read_db, history)
    assert day["held"]["model_calls"] == 2


async def test_time_is_counted_until_the_last_change(read_db: ReadDatabase, history: History) -> None:
    history.handle(hold("one", 1, ran=Ran(2_000, START - timedelta(seconds=10))))
    history.handle(hold("two", 1, ran=Ran(since=START - timedelta(seconds=5))))
    (day,) = await shown(read_db, history)
    assert day["running"] == 2
    first, second = (each.metadata.at - START for each in history.events)
    assert day["running_s"] == pytest.approx((10 + 5 + 2 * second.total_seconds()), abs=0.002)
    assert first < second
    history.handle(settle("one", 1, Ran(14_000)))
    history.handle(settle("two", 1, Ran(6_000)))
    (day,) = await shown(read_db, history)
    assert (day["running_s"], day["running"]) == (18.0, 0), "2 s ran before it held a share"


async def test_days_are_listed_newest_first_and_narrowed_down(
    read_db: ReadDatabase, history: History
) -> None:
    for day in (DAY, "2026-11-25", "2026-11-26"):
        for workflow_id in ("blog", "triage_2"):
            history.handle(hold("one", 1, workflow_id=workflow_id, day=day))
    history.handle(hold("other", 1, workflow_id="of-another"), tenant="acme")
    found = await shown(read_db, history)
    assert [each["day"][-2:] for each in found] == ["26", "26", "25", "25", "24", "24"]
    assert await walked(lambda cursor: list_day_spending(read_db, "default", limit=4, cursor=cursor)) == found
    one = await shown(
        read_db, history, workflow_id="triage_2", first_day=START.date() + timedelta(days=1), limit=200
    )
    assert [(each["workflow_id"], each["day"]) for each in one] == [
        ("triage_2", "2026-11-26"),
        ("triage_2", "2026-11-25"),
    ]


async def test_it_is_equal_when_it_is_built_anew(read_db: ReadDatabase, history: History) -> None:
    history.handle(hold("one", 4, ran=Ran(since=START)))
    await shown(read_db, history)
    history.handle(hold("two", 2))
    history.handle(settle("one", 3, Ran(1_000)))
    await shown(read_db, history)
    assert (await verify(DAY_SPENDING, read_db, history)).is_equal
