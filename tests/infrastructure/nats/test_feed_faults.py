"""The JetStream feed when the server, the stream or the connection is lost."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import AsyncIterator, Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path

import msgspec
import pytest

from application.ports import FeedMoved
from domain.errors import TooLarge, Unavailable
from domain.message import Recorded
from infrastructure.nats.connection import Connection
from infrastructure.nats.feed import MAX_BATCH_BYTES, JetStreamFeed, batches
from infrastructure.nats.jetstream import ask
from infrastructure.nats.server import NatsServer
from infrastructure.nats.subjects import EVENTS
from tests.contracts.event_feed_contract import a_page, an_event, followed, next_events
from tests.nats_servers import crash
from tests.waiting import eventually


@pytest.fixture
async def feed(nats_connection: Connection) -> JetStreamFeed:
    feed = JetStreamFeed(nats_connection)
    await feed.create(1)
    await feed.publish(a_page(1, 3))
    return feed


@pytest.fixture
def batches_beyond_3(feed: JetStreamFeed) -> AsyncIterator[Sequence[Recorded]]:
    """A follower that has read what there is."""
    return feed.follow(3)


async def published(feed: JetStreamFeed, page: list[Recorded]) -> bool:
    """Whether the page went through now."""
    try:
        await feed.publish(page)
    except Unavailable:
        return False
    return True


async def stored(connection: Connection) -> list[tuple[int, str, dict[str, str]]]:
    """(sequence, subject, headers) of every message of the stream."""
    subscription = await connection.jetstream().subscribe("kasal.events.>", ordered_consumer=True)
    state = (await ask(connection, f"STREAM.INFO.{EVENTS}")).state
    messages = [await subscription.next_msg(5) for _ in range(state.messages)]
    await subscription.unsubscribe()
    return [(m.metadata.sequence.stream, m.subject, dict(m.headers or {})) for m in messages]


async def test_a_message_says_what_it_is(feed: JetStreamFeed, nats_connection: Connection) -> None:
    traced = an_event(4)
    traced = msgspec.structs.replace(
        traced, metadata=msgspec.structs.replace(traced.metadata, traceparent="00-1-2-01")
    )
    await feed.publish([traced])
    sequence, subject, headers = (await stored(nats_connection))[-1]
    assert (sequence, subject) == (4, "kasal.events.acme.execution.1.happened")
    assert headers["Content-Type"] == "application/cloudevents+json"
    assert (headers["Kasal-Position"], headers["traceparent"]) == ("4", "00-1-2-01")


async def test_the_sequence_is_the_position(feed: JetStreamFeed, nats_connection: Connection) -> None:
    with suppress(FeedMoved):
        await feed.publish(a_page(3, 9))
    await feed.publish(a_page((await feed.last_position() or 0) + 1, 20))
    messages = await stored(nats_connection)
    assert [(sequence, headers["Kasal-Position"]) for sequence, _, headers in messages] == [
        (position, str(position)) for position in range(1, 21)
    ]


async def test_a_batch_that_is_begun_and_never_committed_leaves_nothing(
    feed: JetStreamFeed, nats_connection: Connection
) -> None:
    headers = {"Nats-Batch-Id": "left", "Nats-Batch-Sequence": "1", "Nats-Expected-Last-Sequence": "3"}
    await nats_connection.publish("kasal.events.acme.execution.1.happened", b"{}", headers=headers)
    await feed.publish(a_page(4, 6))
    assert await followed(feed, 0, 6) == a_page(1, 6)


async def test_a_follower_goes_on_after_the_server_was_killed(
    feed: JetStreamFeed,
    batches_beyond_3: AsyncIterator[Sequence[Recorded]],
    own_nats_server: NatsServer,
) -> None:
    await feed.publish(a_page(4, 4))
    assert await next_events(batches_beyond_3) == a_page(4, 4)
    await crash(own_nats_server)
    assert list(await anext(batches_beyond_3)) == []
    await own_nats_server.start_again()
    await eventually(lambda: published(feed, a_page(5, 6)))
    assert await next_events(batches_beyond_3) == a_page(5, 6)


async def test_a_follower_goes_on_when_the_stream_is_made_anew(
    feed: JetStreamFeed,
    batches_beyond_3: AsyncIterator[Sequence[Recorded]],
    nats_connection: Connection,
) -> None:
    await feed.publish(a_page(4, 4))
    assert await next_events(batches_beyond_3) == a_page(4, 4)
    await ask(nats_connection, f"STREAM.DELETE.{EVENTS}")
    await eventually(partial(made, feed, 1))
    await feed.publish(a_page(1, 6))
    assert await next_events(batches_beyond_3) == a_page(5, 6)


async def test_a_stream_that_begins_later_shows_by_its_positions(
    feed: JetStreamFeed,
    batches_beyond_3: AsyncIterator[Sequence[Recorded]],
    nats_connection: Connection,
) -> None:
    assert list(await anext(batches_beyond_3)) == []
    await ask(nats_connection, f"STREAM.DELETE.{EVENTS}")
    await eventually(partial(made, feed, 11))
    await feed.publish(a_page(11, 12))
    assert await next_events(batches_beyond_3) == a_page(11, 12)


async def test_a_follower_notices_that_its_consumer_is_gone(
    feed: JetStreamFeed,
    batches_beyond_3: AsyncIterator[Sequence[Recorded]],
    nats_connection: Connection,
) -> None:
    assert list(await anext(batches_beyond_3)) == []
    listed = await nats_connection.jetstream().consumers_info(EVENTS)
    assert [await nats_connection.jetstream().delete_consumer(EVENTS, info.name) for info in listed] == [True]
    await feed.publish(a_page(4, 4))
    assert await next_events(batches_beyond_3) == a_page(4, 4)


async def test_a_follower_that_ends_leaves_no_consumer(
    feed: JetStreamFeed, nats_connection: Connection
) -> None:
    following = asyncio.create_task(followed(feed, 0, 10))
    jetstream = nats_connection.jetstream()
    await eventually(lambda: consumer_count(nats_connection, 1))
    following.cancel()
    await eventually(lambda: consumer_count(nats_connection, 0))
    assert await jetstream.consumers_info(EVENTS) == []


async def consumer_count(connection: Connection, count: int) -> bool:
    return len(await connection.jetstream().consumers_info(EVENTS)) == count


async def test_nothing_is_lost_while_connections_break(
    feed: JetStreamFeed, batches_beyond_3: AsyncIterator[Sequence[Recorded]], nats_connection: Connection
) -> None:
    """Every message that was in flight in a broken connection is asked for again."""

    async def publish_and_break() -> None:
        for first in range(4, 2004, 100):
            await eventually(partial(settled, feed, a_page(first, first + 99)))
            await nats_connection.force_reconnect()

    publishing = asyncio.create_task(publish_and_break())
    got: list[Recorded] = []
    while len(got) < 2000:
        got.extend(await next_events(batches_beyond_3))
    await publishing
    assert got == a_page(4, 2003)


async def made(feed: JetStreamFeed, first_position: int) -> bool:
    """Whether the stream is there; a server that is still removing the old one's files says no at first."""
    try:
        await feed.create(first_position)
    except Unavailable:
        return False
    return True


async def settled(feed: JetStreamFeed, page: list[Recorded]) -> bool:
    """Whether the page is in the feed; an unknown outcome is cleared up as the relay does it."""
    try:
        if await feed.last_position() == page[-1].position:
            return True
        await feed.publish(page)
    except (Unavailable, FeedMoved):
        return False
    return True


async def test_a_foreign_message_is_no_event(feed: JetStreamFeed, nats_connection: Connection) -> None:
    await nats_connection.request("kasal.events.acme.execution.1.happened", b"not ours")
    assert await feed.last_position() == 4
    await feed.publish(a_page(5, 5))
    assert [event.position for event in await followed(feed, 0, 4)] == [1, 2, 3, 5]


async def test_without_a_server_the_feed_is_unavailable(
    feed: JetStreamFeed, own_nats_server: NatsServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("infrastructure.nats.jetstream.API_TIMEOUT_S", 0.3)
    await crash(own_nats_server)
    with pytest.raises(Unavailable):
        await feed.last_position()
    with pytest.raises(Unavailable):
        await feed.publish(a_page(4, 5))


async def test_a_page_of_unknown_outcome_can_not_come_twice(
    feed: JetStreamFeed, own_nats_server: NatsServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What the client holds back while the server is away is sent later, and refused by the fence."""
    monkeypatch.setattr("infrastructure.nats.jetstream.API_TIMEOUT_S", 0.3)
    await crash(own_nats_server)
    for _ in range(3):
        assert not await published(feed, a_page(4, 6))
    await own_nats_server.start_again()
    monkeypatch.setattr("infrastructure.nats.jetstream.API_TIMEOUT_S", 5.0)
    await eventually(lambda: settled(feed, a_page(4, 6)))
    await feed.publish(a_page(7, 7))
    assert await followed(feed, 0, 7) == a_page(1, 7)


async def test_a_store_that_is_wiped_is_no_feed(
    feed: JetStreamFeed, own_nats_server: NatsServer, tmp_path: Path
) -> None:
    await crash(own_nats_server)
    shutil.rmtree(tmp_path / "nats" / "jetstream")
    await own_nats_server.start_again()
    await eventually(lambda: is_missing(feed))
    with pytest.raises(FeedMoved):
        await feed.publish(a_page(4, 5))


async def is_missing(feed: JetStreamFeed) -> bool:
    try:
        return await feed.last_position() is None
    except Unavailable:
        return False


async def test_an_event_above_the_servers_bound_says_so(feed: JetStreamFeed) -> None:
    body = b'"' + b"x" * 2_000_000 + b'"'
    with pytest.raises(TooLarge, match="max_payload"):
        await feed.publish([an_event(4, body=body)])


def test_a_page_is_split_at_the_bound_of_a_batch() -> None:
    body = b'"' + b"x" * 200_000 + b'"'
    page = [an_event(position, body=body) for position in range(1, 50)]
    split = list(batches(page))
    assert [recorded for batch in split for recorded, _ in batch] == page
    assert all(sum(len(body) for _, body in batch) <= MAX_BATCH_BYTES for batch in split)
    assert len(split) == 3
