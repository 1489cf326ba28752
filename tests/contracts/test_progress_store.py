"""How far webhooks are: the same on every adapter."""

from __future__ import annotations

import asyncio

import pytest

from application.webhooks.progress import ProgressMoved, ProgressStore
from application.webhooks.sharing import Share
from infrastructure.nats.connection import Connection
from infrastructure.nats.jetstream import ask
from infrastructure.nats.progress import JetStreamProgress
from infrastructure.nats.subjects import WEBHOOKS
from infrastructure.webhooks.memory import MemoryProgress
from tests.waiting import eventually


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


@pytest.fixture
def hasty(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, seconds in (("RENEW_S", 0.1), ("GIVE_UP_S", 3.0), ("SILENT_S", 4.0), ("HANDOVER_S", 0.5)):
        monkeypatch.setattr(f"application.webhooks.sharing.{name}", seconds)


@pytest.mark.usefixtures("hasty")
async def test_each_webhook_belongs_to_one_of_those_who_are_there(store: ProgressStore) -> None:
    shares = [Share(store, name) for name in ("a", "b", "c")]
    await asyncio.gather(*(share.join() for share in shares))
    keeping = [asyncio.create_task(share.keep()) for share in shares]
    await eventually(lambda: all(share.members == ("a", "b", "c") for share in shares), 30)
    owners = owners_of(shares)
    assert set(owners.values()) == {0, 1, 2}
    keeping[0].cancel()
    await eventually(lambda: all(share.members == ("b", "c") for share in shares[1:]), 30)
    left = owners_of(shares[1:])
    assert all(left[each] + 1 == owner for each, owner in owners.items() if owner)
    await shares[1].leave()
    await eventually(lambda: shares[2].members == ("c",), 30)
    assert set(owners_of(shares[2:]).values()) == {0}
    async with asyncio.timeout(30):
        await keeping[1]
    keeping[2].cancel()
    await asyncio.wait(keeping)


def owners_of(shares: list[Share]) -> dict[str, int]:
    """To which of them each webhook belongs: to one."""
    found = {}
    for number in range(60):
        (found[str(number)],) = [n for n, share in enumerate(shares) if share.has(str(number))]
    return found


@pytest.mark.usefixtures("hasty")
async def test_whoever_was_taken_for_gone_stops(store: ProgressStore) -> None:
    slow, other = Share(store, "slow"), Share(store, "other")
    await slow.join()
    await other.join()
    keeping = asyncio.create_task(other.keep())
    await eventually(lambda: other.members == ("other",), 30)
    async with asyncio.timeout(30):
        await slow.keep()
    keeping.cancel()
    await asyncio.wait([keeping])


async def test_a_lost_stream_is_made_again(nats_connection: Connection) -> None:
    store = JetStreamProgress(nats_connection)
    await store.load("a")
    revision = await store.save("a", b"1", 0)
    await ask(nats_connection, f"STREAM.DELETE.{WEBHOOKS}")
    with pytest.raises(ProgressMoved):
        await store.save("a", b"2", revision)
    assert await store.load("a") == (b"", 0)
    await store.save("a", b"3", 0)
