"""What was just committed is answered from memory, and only that."""

from __future__ import annotations

import pytest

from application.ports import Append, Appended, EventLog
from infrastructure.event_log import tail
from infrastructure.event_log.opening import open_event_log
from infrastructure.event_log.schema import migrate
from infrastructure.event_log.tail import Tail
from tests.contracts.event_log_commands import a_command


@pytest.fixture(params=["sqlite_url", "postgres_url"])
def url(request: pytest.FixtureRequest) -> str:
    """An empty database."""
    url: str = request.getfixturevalue(request.param)
    return url


def filled(*positions: int) -> Tail:
    """A tail that saw a one-event command at each position."""
    newest = Tail()
    for position in positions:
        newest.saw(a_command(f"order-{position}"), Appended(1, position))
    return newest


def positions(newest: Tail, after: int, limit: int = 10) -> list[int]:
    return [recorded.position for recorded in newest.after(after, limit)]


def test_it_answers_from_any_place_that_it_holds() -> None:
    newest = filled(5, 6, 7)
    assert positions(newest, 4) == [5, 6, 7]
    assert positions(newest, 5, limit=1) == [6]
    assert positions(newest, 7) == []


def test_it_does_not_answer_for_what_came_before_it() -> None:
    assert positions(filled(5, 6, 7), 3) == []


def test_a_hole_begins_a_new_run() -> None:
    newest = filled(5, 6, 9)
    assert positions(newest, 4) == []
    assert positions(newest, 8) == [9]


def test_it_forgets_the_oldest_beyond_its_bound() -> None:
    newest = filled(*range(1, 2 * tail.MAX_EVENTS + 2))
    oldest = tail.MAX_EVENTS + 2
    assert positions(newest, oldest - 2) == []
    assert positions(newest, oldest - 1, limit=2) == [oldest, oldest + 1]


def test_it_forgets_more_where_events_are_large(monkeypatch: pytest.MonkeyPatch) -> None:
    size = sum(len(event.body) for event in a_command("order-1").events)
    monkeypatch.setattr(tail, "MAX_BYTES", 10 * size)
    newest = filled(*range(1, 12))
    assert positions(newest, 5) == []
    assert positions(newest, 6) == [7, 8, 9, 10, 11]


def test_a_command_of_several_events_keeps_their_order_and_versions() -> None:
    one = a_command("order-1")
    newest = Tail()
    newest.saw(Append(stream="order-1", expected_version=4, events=one.events * 3), Appended(7, 30))
    assert [(r.position, r.version) for r in newest.after(27, 10)] == [(28, 5), (29, 6), (30, 7)]


async def test_what_it_answers_is_what_the_database_holds(url: str) -> None:
    migrate(url)
    log = await open_event_log(url)
    for number in range(5):
        await log.append(a_command(f"order-{number}"))
    from_memory = await log.read_all(0, 10)
    other: EventLog = await open_event_log(url)
    assert list(from_memory) == list(await other.read_all(0, 10))
    assert len(from_memory) == 5
    await other.append(a_command("order-9"))
    assert [recorded.position for recorded in await log.read_all(0, 10)] == [1, 2, 3, 4, 5]
    assert [recorded.position for recorded in await log.read_all(5, 10)] == [6]
    await other.close()
    await log.close()
