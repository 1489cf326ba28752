"""How far webhooks are: the same on every adapter."""

from __future__ import annotations

import asyncio

import pytest

from application.webhooks.lease import Lease
from application.webhooks.progress import ProgressMoved, ProgressStore
from infrastructure.nats.connection import Connection
from infrastructure.nats.jetstream import ask
from infrastructure.nats.progress import JetStreamProgress
from infrastructure.nats.subjects import WEBHOOKS
from infrastructure.webhooks.memory import MemoryProgress


@pytest.fixture(params=["memory", "jetstream"])
def store(request: pytest.FixtureRequest) -> ProgressStore:
    if request.param == "memory":
        return MemoryProgress()
    return JetStreamProgress(request.getfixturevalue("nats_connection"))


async def test_there_is_nothing_before_something_was_saved(store: ProgressStore) -> None:
    assert await store.load("a") == (b"", 0)


async def test_what_was_saved_last_is_there_under_its_key(store: ProgressStore) -> None:
    first = await store.save("a", b"1", 0)
    await store.save("b.c *>", b"other", 0)
    second = await store.save("a", b"2", first)
    assert await store.load("a") == (b"2", second)
    assert (await store.load("b.c *>"))[0] == b"other"


async def test_a_save_that_does_not_follow_on_is_refused(store: ProgressStore) -> None:
    first = await store.save("a", b"1", 0)
    await store.save("a", b"2", first)
    for revision in (0, first):
        with pytest.raises(ProgressMoved):
            await store.save("a", b"3", revision)
    assert (await store.load("a"))[0] == b"2"


async def test_one_of_many_savers_wins(store: ProgressStore) -> None:
    await store.load("a")
    saves = [store.save("a", b"%d" % number, 0) for number in range(10)]
    outcomes = await asyncio.gather(*saves, return_exceptions=True)
    assert sum(isinstance(outcome, int) for outcome in outcomes) == 1


async def test_a_lease_is_taken_over_when_its_holder_is_silent(
    store: ProgressStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("application.webhooks.lease.RENEW_S", 0.1)
    monkeypatch.setattr("application.webhooks.lease.SILENT_S", 1.0)
    first, second = Lease(store, "first"), Lease(store, "second")
    await first.acquire()
    keeping = asyncio.create_task(first.keep())
    acquiring = asyncio.create_task(second.acquire())
    done, _ = await asyncio.wait({acquiring}, timeout=2.0)
    assert not done
    keeping.cancel()
    async with asyncio.timeout(10):
        await acquiring
        await first.keep()


async def test_a_lease_that_is_released_is_free_at_once(store: ProgressStore) -> None:
    first, second = Lease(store, "first"), Lease(store, "second")
    await first.acquire()
    await first.release()
    async with asyncio.timeout(10):
        await second.acquire()


async def test_a_lost_stream_is_made_again(nats_connection: Connection) -> None:
    store = JetStreamProgress(nats_connection)
    await store.load("a")
    revision = await store.save("a", b"1", 0)
    await ask(nats_connection, f"STREAM.DELETE.{WEBHOOKS}")
    with pytest.raises(ProgressMoved):
        await store.save("a", b"2", revision)
    assert await store.load("a") == (b"", 0)
    await store.save("a", b"3", 0)
