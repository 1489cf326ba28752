"""Which events a filter lets through."""

from __future__ import annotations

import pytest

from domain.event_filter import EventFilter, status_tags, stored_types, unknown_types, wanted_tags
from domain.execution import Status
from domain.registry import EVENT_TYPES


def wanted(**fields: object) -> set[str]:
    allows = wanted_tags(EventFilter(**fields))  # type: ignore[arg-type]
    return {tag for tag in EVENT_TYPES if allows(tag)}


def test_a_filter_that_says_nothing_wants_everything() -> None:
    assert wanted() == set(EVENT_TYPES)


def test_types_name_one_event_or_all_of_a_kind() -> None:
    assert wanted(types=("execution.completed",)) == {"execution.completed"}
    kinds = wanted(types=("workflow.*", "execution.failed"))
    assert kinds == {tag for tag in EVENT_TYPES if tag.startswith("workflow.")} | {"execution.failed"}


def test_statuses_name_the_events_that_bring_them() -> None:
    statuses = (Status.PENDING, Status.RUNNING, Status.FAILED)
    assert wanted(statuses=statuses) == {
        "execution.requested",
        "execution.resumed",
        "execution.retried",
        "execution.step_started",
        "execution.failed",
    }


def test_types_and_statuses_both_have_to_agree() -> None:
    assert wanted(types=("workflow.*",), statuses=(Status.FAILED,)) == set()


@pytest.mark.parametrize("status", Status)
def test_every_status_is_brought_by_an_event_that_exists(status: Status) -> None:
    assert set(status_tags(status)) <= EVENT_TYPES.keys()


def test_names_of_cloudevents_are_names_of_events() -> None:
    assert stored_types(["io.kasal.execution.failed", "execution.failed"]) == ("execution.failed",)


def test_a_name_that_no_event_has_is_unknown() -> None:
    names = ["execution.completed", "execution.*", "execution.done", "*", "exec.*"]
    assert unknown_types(names, EVENT_TYPES) == ["execution.done", "*", "exec.*"]
