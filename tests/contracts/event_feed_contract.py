"""What every event feed does. `test_event_feed.py` mounts it on each adapter, with a fixture `feed`."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import suppress
from datetime import UTC, datetime, timedelta

import pytest

from application.ports import EventFeed, FeedMoved, FeedTrimmed
from domain.message import Metadata, Recorded


def an_event(
    position: int, *, stream: str = "execution-1", tag: str = "", body: bytes = b'{"n":1}'
) -> Recorded:
    """An event of tenant `acme`; everything but the given follows from its position."""
    return Recorded(
        position=position,
        stream=stream,
        version=position,
        tag=tag or f"{stream.partition('-')[0]}.happened",
        body=body,
        metadata=Metadata(
            event_id=f"event-{position}",
            at=datetime(2026, 1, 1, tzinfo=UTC) + timedelta(microseconds=position),
            tenant="acme",
            actor="user:ann",
            command_id=f"command-{position}",
            correlation_id="story",
        ),
    )


def a_page(first: int, last: int) -> list[Recorded]:
    """Events at all the positions from first to last."""
    return [an_event(position) for position in range(first, last + 1)]


async def followed(feed: EventFeed, after: int, count: int, tags: Sequence[str] = ()) -> list[Recorded]:
    """The first events that a follower gets."""
    got: list[Recorded] = []
    async with asyncio.timeout(60):
        async for batch in feed.follow(after, tags=tags):
            got.extend(batch)
            if len(got) >= count:
                break
    return got


async def next_events(batches: AsyncIterator[Sequence[Recorded]]) -> Sequence[Recorded]:
    """The next batch that is not empty."""
    async with asyncio.timeout(60):
        async for batch in batches:
            if batch:
                return batch
    raise AssertionError("a follower never ends")


TAGS = ("execution.happened",)


class EventFeedContract:
    async def test_who_follows_some_is_told_of_a_hole_that_it_could_not_see(self, feed: EventFeed) -> None:
        await feed.create(5)
        await feed.publish(a_page(5, 7))
        assert [event.position for event in await followed(feed, 2, 3)] == [5, 6, 7]
        assert [event.position for event in await followed(feed, 4, 3, TAGS)] == [5, 6, 7]
        with pytest.raises(FeedTrimmed):
            await followed(feed, 3, 3, TAGS)

    async def test_there_is_none_until_it_is_made(self, feed: EventFeed) -> None:
        assert await feed.last_position() is None
        with pytest.raises(FeedMoved):
            await feed.publish(a_page(1, 1))

    async def test_a_new_one_ends_before_its_first_position(self, feed: EventFeed) -> None:
        await feed.create(1)
        assert await feed.last_position() == 0

    async def test_one_that_exists_is_left_as_it_is(self, feed: EventFeed) -> None:
        await feed.create(1)
        await feed.publish(a_page(1, 3))
        await feed.create(1)
        await feed.create(500)
        assert await feed.last_position() == 3

    async def test_it_may_begin_anywhere(self, feed: EventFeed) -> None:
        await feed.create(501)
        assert await feed.last_position() == 500
        await feed.publish(a_page(501, 503))
        assert [event.position for event in await followed(feed, 0, 3)] == [501, 502, 503]

    @pytest.mark.parametrize("length", [1, 2, 999, 1000, 1001, 2500])
    async def test_a_page_of_any_length_is_followed_as_it_was_published(
        self, feed: EventFeed, length: int
    ) -> None:
        await feed.create(1)
        await feed.publish(a_page(1, length))
        assert await feed.last_position() == length
        assert await followed(feed, 0, length) == a_page(1, length)

    async def test_nothing_to_publish_is_no_fault(self, feed: EventFeed) -> None:
        await feed.create(1)
        await feed.publish([])
        assert await feed.last_position() == 0

    async def test_a_page_that_leaves_a_hole_is_refused_whole(self, feed: EventFeed) -> None:
        await feed.create(1)
        await feed.publish(a_page(1, 2))
        with pytest.raises(FeedMoved):
            await feed.publish(a_page(4, 6))
        assert await feed.last_position() == 2

    @pytest.mark.parametrize("page", [(1, 1), (1, 2), (2, 2)])
    async def test_a_page_that_is_in_already_is_refused(self, feed: EventFeed, page: tuple[int, int]) -> None:
        await feed.create(1)
        await feed.publish(a_page(1, 2))
        with pytest.raises(FeedMoved):
            await feed.publish(a_page(*page))
        assert await feed.last_position() == 2

    @pytest.mark.parametrize("page", [(1, 5), (2, 5), (1, 20)])
    async def test_a_page_whose_beginning_is_in_already_stands_once_or_is_refused(
        self, feed: EventFeed, page: tuple[int, int]
    ) -> None:
        await feed.create(1)
        await feed.publish(a_page(1, 2))
        with suppress(FeedMoved):
            await feed.publish(a_page(*page))
        last = await feed.last_position()
        assert last in (2, page[1])
        await feed.publish(a_page(last + 1, 21))
        assert await followed(feed, 0, 21) == a_page(1, 21)

    async def test_of_many_publishers_of_one_page_one_wins(self, feed: EventFeed) -> None:
        await feed.create(1)
        outcomes = await asyncio.gather(
            *(feed.publish(a_page(1, 20)) for _ in range(8)), return_exceptions=True
        )
        assert sorted(map(repr, map(type, outcomes))) == sorted([repr(type(None)), *[repr(FeedMoved)] * 7])
        assert await followed(feed, 0, 20) == a_page(1, 20)

    async def test_a_follower_begins_behind_its_position(self, feed: EventFeed) -> None:
        await feed.create(1)
        await feed.publish(a_page(1, 10))
        assert await followed(feed, 7, 3) == a_page(8, 10)

    async def test_a_follower_waits_for_what_is_not_there_yet(self, feed: EventFeed) -> None:
        await feed.create(1)
        following = asyncio.create_task(followed(feed, 2, 2))
        await feed.publish(a_page(1, 2))
        await feed.publish(a_page(3, 4))
        assert await following == a_page(3, 4)

    async def test_a_follower_may_come_before_the_feed(self, feed: EventFeed) -> None:
        following = asyncio.create_task(followed(feed, 0, 1))
        await asyncio.sleep(0)
        await feed.create(1)
        await feed.publish(a_page(1, 1))
        assert await following == a_page(1, 1)

    async def test_an_empty_batch_says_that_there_is_nothing_new(self, feed: EventFeed) -> None:
        await feed.create(1)
        await feed.publish(a_page(1, 1))
        batches = feed.follow(0)
        assert await anext(batches) == a_page(1, 1)
        async with asyncio.timeout(60):
            assert list(await anext(batches)) == []

    async def test_without_a_feed_a_follower_hears_that_there_is_nothing_new(self, feed: EventFeed) -> None:
        async with asyncio.timeout(60):
            assert list(await anext(feed.follow(0))) == []

    async def test_a_follower_may_ask_for_some_tags(self, feed: EventFeed) -> None:
        tags = ["workflow.created", "execution.completed", "execution.completed.v2", "execution.completed"]
        events = [an_event(position, tag=tag) for position, tag in enumerate(tags, 1)]
        await feed.create(1)
        await feed.publish(events)
        assert await followed(feed, 0, 2, ["execution.completed"]) == [events[1], events[3]]
        assert await followed(feed, 1, 3, ["execution.completed", "execution.completed.v2"]) == events[1:]

    async def test_every_follower_gets_everything(self, feed: EventFeed) -> None:
        await feed.create(1)
        following = [asyncio.create_task(followed(feed, 0, 300)) for _ in range(5)]
        for first in range(1, 300, 50):
            await feed.publish(a_page(first, first + 49))
        assert await asyncio.gather(*following) == [a_page(1, 300)] * 5

    @pytest.mark.parametrize(
        "stream", ["execution-a.b c>*", "execution-", "execution-grüße/☃", "execution-=2E"]
    )
    async def test_ids_may_be_any_text(self, feed: EventFeed, stream: str) -> None:
        await feed.create(1)
        event = an_event(1, stream=stream)
        await feed.publish([event])
        assert await followed(feed, 0, 1, ["execution.happened"]) == [event]

    async def test_events_of_the_largest_size_travel_in_one_page(self, feed: EventFeed) -> None:
        body = b'{"text":"' + b"x" * (256 * 1024 - 11) + b'"}'
        events = [an_event(position, body=body) for position in range(1, 41)]
        await feed.create(1)
        await feed.publish(events)
        assert await followed(feed, 0, 40) == events
