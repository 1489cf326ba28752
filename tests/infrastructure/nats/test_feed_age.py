"""How long the feed keeps events, and what followers make of those it has let go."""

from __future__ import annotations

import pytest

from application.ports import FeedTrimmed
from infrastructure.nats.connection import Connection
from infrastructure.nats.feed import JetStreamFeed
from infrastructure.nats.jetstream import NANOSECONDS, StreamState, ask
from infrastructure.nats.subjects import EVENTS
from tests.contracts.event_feed_contract import a_page, followed, next_events
from tests.waiting import eventually

SHORT_S = 0.5
HAPPENED = ("execution.happened",)


async def state(connection: Connection) -> StreamState:
    return (await ask(connection, f"STREAM.INFO.{EVENTS}")).state


async def max_age(connection: Connection) -> int:
    return int((await ask(connection, f"STREAM.INFO.{EVENTS}")).config["max_age"])


async def trimmed(connection: Connection) -> JetStreamFeed:
    """A feed that held ten events, and holds none of them any more; from here on it keeps them."""
    feed = JetStreamFeed(connection, keep_s=SHORT_S)
    await feed.create(1)
    await feed.publish(a_page(1, 10))

    async def is_empty() -> bool:
        return (await state(connection)).messages == 0

    await eventually(is_empty)
    feed = JetStreamFeed(connection, keep_s=3_600)
    await feed.last_position()
    return feed


async def test_what_was_let_go_leaves_the_sequence_where_it_was(nats_connection: Connection) -> None:
    feed = await trimmed(nats_connection)
    assert await feed.last_position() == 10
    await feed.publish(a_page(11, 30))
    assert (await state(nats_connection)).first_seq == 11
    assert [event.position for event in await followed(feed, 0, 20)] == list(range(11, 31))


async def test_who_follows_all_sees_the_hole_and_who_follows_some_is_told(
    nats_connection: Connection,
) -> None:
    feed = await trimmed(nats_connection)
    await feed.publish(a_page(11, 12))
    assert [event.position for event in await next_events(feed.follow(4))] == [11, 12]
    with pytest.raises(FeedTrimmed, match="begins at position 11, not at 5"):
        await next_events(feed.follow(4, tags=HAPPENED))
    assert [event.position for event in await next_events(feed.follow(10, tags=HAPPENED))] == [11, 12]


async def test_an_empty_feed_has_let_go_what_is_asked_for_too(nats_connection: Connection) -> None:
    feed = await trimmed(nats_connection)
    with pytest.raises(FeedTrimmed):
        await anext(feed.follow(9, tags=HAPPENED))
    assert list(await anext(feed.follow(10, tags=HAPPENED))) == []


async def test_a_feed_that_was_made_before_keeps_what_it_holds_as_it_is_set_now(
    nats_connection: Connection,
) -> None:
    before = JetStreamFeed(nats_connection)
    await before.create(7)
    await before.publish(a_page(7, 9))
    assert await max_age(nats_connection) == 0
    assert await JetStreamFeed(nats_connection, keep_s=86_400).last_position() == 9
    assert await max_age(nats_connection) == 86_400 * NANOSECONDS
    assert await JetStreamFeed(nats_connection).last_position() == 9, "who does not care changes nothing"
    assert await max_age(nats_connection) == 86_400 * NANOSECONDS
    assert await JetStreamFeed(nats_connection, keep_s=0).last_position() == 9
    assert await max_age(nats_connection) == 0
    assert [event.position for event in await followed(before, 6, 3)] == [7, 8, 9]


async def test_a_feed_that_is_made_again_keeps_its_events_as_long(nats_connection: Connection) -> None:
    feed = JetStreamFeed(nats_connection, keep_s=3_600)
    await feed.create(1)
    await feed.last_position()
    await ask(nats_connection, f"STREAM.DELETE.{EVENTS}")
    await feed.create(1)
    assert await max_age(nats_connection) == 3_600 * NANOSECONDS
