"""When a cron expression comes: in its time zone, over the changes of the clock, after a long absence."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from application.cron import due_slots, next_slot, plan_faults
from domain.plan import Plan


def plan(cron: str, timezone: str = "Europe/Berlin", **fields: object) -> Plan:
    return Plan(name="p", workflow_id="w", cron=cron, timezone=timezone, **fields)  # type: ignore[arg-type]


def utc(*parts: int) -> datetime:
    return datetime(*parts, tzinfo=UTC)  # type: ignore[misc, arg-type]


def slots(cron: str, after: datetime, now: datetime, timezone: str = "Europe/Berlin") -> list[datetime]:
    return list(due_slots(plan(cron, timezone), after, now)[0])


def test_a_slot_is_a_moment_of_the_plans_time_zone() -> None:
    assert next_slot(plan("0 2 * * *"), utc(2026, 11, 24, 12)) == utc(2026, 11, 25, 1)
    assert next_slot(plan("0 2 * * *", "UTC"), utc(2026, 11, 24, 12)) == utc(2026, 11, 25, 2)
    assert next_slot(plan("0 2 * * *", "Asia/Kolkata"), utc(2026, 11, 24, 12)) == utc(2026, 11, 24, 20, 30)


def test_a_slot_is_later_than_the_moment_it_is_asked_after() -> None:
    assert next_slot(plan("0 2 * * *", "UTC"), utc(2026, 11, 24, 2)) == utc(2026, 11, 25, 2)


def test_an_hour_that_is_left_out_in_spring_runs_right_after_and_once() -> None:
    """Berlin, 29 March 2026: 02:00 becomes 03:00, which is 01:00 UTC."""
    night = slots("30 2 * * *", utc(2026, 3, 28, 12), utc(2026, 3, 30, 12))
    assert night == [utc(2026, 3, 29, 1), utc(2026, 3, 30, 0, 30)]


def test_an_hour_that_comes_twice_in_autumn_runs_once() -> None:
    """Berlin, 25 October 2026: 03:00 becomes 02:00, so 02:30 is 00:30 UTC and again 01:30 UTC."""
    night = slots("30 2 * * *", utc(2026, 10, 24, 12), utc(2026, 10, 26, 12))
    assert night == [utc(2026, 10, 25, 0, 30), utc(2026, 10, 26, 1, 30)]


@pytest.mark.parametrize("day", [utc(2026, 3, 29), utc(2026, 10, 25)])
def test_every_quarter_of_an_hour_stays_so_when_the_clock_changes(day: datetime) -> None:
    found = slots("*/15 * * * *", day - timedelta(hours=4), day + timedelta(hours=8))
    assert {later - earlier for earlier, later in pairwise(found)} == {timedelta(minutes=15)}


def test_after_a_long_absence_the_newest_slots_are_kept_and_the_others_counted() -> None:
    now = utc(2026, 11, 24, 12)
    due, unseen = due_slots(plan("*/10 * * * *"), now - timedelta(days=2), now)
    assert (len(due), unseen, due[-1]) == (100, 188, now)
    assert len(due_slots(plan("0 * * * *"), utc(2020, 1, 1), now)[0]) == 100


def test_a_plan_that_is_off_has_no_next_slot() -> None:
    assert next_slot(plan("0 2 * * *", enabled=False), utc(2026, 11, 24)) is None


@pytest.mark.parametrize(
    ("cron", "timezone", "pointer", "says"),
    [
        ("0 2 * *", "UTC", "/cron", "five fields"),
        ("0 0 2 * * *", "UTC", "/cron", "five fields"),
        ("61 2 * * *", "UTC", "/cron", "Bad minute"),
        ("0 2 30 2 *", "UTC", "/cron", "expected"),
        ("0 2 * * FOO", "UTC", "/cron", "Bad day-of-week"),
        ("0 2 * * *", "Europe/Atlantis", "/timezone", "unknown time zone"),
        ("0 2 * * *", "../../etc/passwd", "/timezone", "unknown time zone"),
        ("0 2 * * *", "Europe", "/timezone", "unknown time zone"),
    ],
)
def test_a_fault_of_a_plan_names_its_field(cron: str, timezone: str, pointer: str, says: str) -> None:
    [fault] = plan_faults(plan(cron, timezone))
    assert fault.pointer == pointer
    assert says in fault.message


@given(st.text("0123456789*/,-LW# SUNMONJAN", max_size=30))
def test_no_expression_does_anything_but_be_one_or_have_a_fault(cron: str) -> None:
    if not plan_faults(plan(cron, "UTC")):
        assert next_slot(plan(cron, "UTC"), utc(2026, 11, 24)) is not None
