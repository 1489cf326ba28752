"""Webhooks as they are asked for, on both databases."""

from __future__ import annotations

from datetime import UTC, datetime

import msgspec
import pytest

from domain.errors import NotFound
from domain.event_filter import EventFilter
from domain.subscription import (
    AbandonDelivery,
    ConfirmReplay,
    CreateSubscription,
    DeleteSubscription,
    DisableSubscription,
    PauseSubscription,
    ResumeSubscription,
    RotateSecret,
    Standing,
)
from projections import ALL
from projections.database import ReadDatabase
from projections.subscriptions import (
    all_subscriptions,
    get_subscription,
    list_dead_letters,
    list_subscriptions,
)
from tests.projections.databases import caught_up, read_db, read_url
from tests.projections.histories import History
from tests.projections.test_lists import items

__all__ = ["read_db", "read_url"]

URL = "https://example.com/hook"


@pytest.fixture
def history() -> History:
    """Three: one with two dead letters of three, one disabled, one deleted; and another tenant's."""
    history = History()
    wanted = EventFilter(types=("execution.*",))
    for name in ("a", "b", "c"):
        history.handle(CreateSubscription(subscription_id=name, url=URL, after=0, wanted=wanted))
    history.handle(CreateSubscription(subscription_id="d", url=URL, after=0), tenant="acme")
    for position in (3, 1, 2):
        history.handle(
            AbandonDelivery(subscription_id="a", position=position, attempts=11, reason="answered 500")
        )
    history.handle(ConfirmReplay(subscription_id="a", position=2))
    history.handle(PauseSubscription(subscription_id="a"))
    history.handle(ResumeSubscription(subscription_id="a"))
    history.handle(RotateSecret(subscription_id="a", previous_until=datetime(2026, 1, 1, tzinfo=UTC)))
    history.handle(DisableSubscription(subscription_id="b", reason="gone"))
    history.handle(DeleteSubscription(subscription_id="c"))
    return history


async def test_they_are_listed_as_they_are_now(read_db: ReadDatabase, history: History) -> None:
    await caught_up(read_db, ALL, history)
    listed = items(await list_subscriptions(read_db, "default"))
    assert [(row["id"], row["standing"]) for row in listed] == [("b", "DISABLED"), ("a", "ACTIVE")]
    disabled = items(await list_subscriptions(read_db, "default", standing=Standing.DISABLED))
    assert [row["disabled_because"] for row in disabled] == ["gone"]
    assert sorted(await all_subscriptions(read_db)) == ["a", "b", "d"]


async def test_one_is_shown_with_its_dead_letters(read_db: ReadDatabase, history: History) -> None:
    await caught_up(read_db, ALL, history)
    row = msgspec.json.decode((await get_subscription(read_db, "default", "a")).json)
    assert (row["secret"], row["dead_letters"], row["wanted"]) == (2, 2, {"types": ["execution.*"]})
    first = await list_dead_letters(read_db, "default", "a", limit=1)
    second = await list_dead_letters(read_db, "default", "a", limit=1, cursor=first.next_cursor)
    assert [letter["position"] for letter in (*items(first), *items(second))] == [1, 3]


async def test_what_is_deleted_or_anothers_is_not_found(read_db: ReadDatabase, history: History) -> None:
    await caught_up(read_db, ALL, history)
    for name in ("c", "d", "none"):
        with pytest.raises(NotFound):
            await get_subscription(read_db, "default", name)
        with pytest.raises(NotFound):
            await list_dead_letters(read_db, "default", name)
