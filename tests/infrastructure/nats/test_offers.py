"""Offers over NATS: kept for a moment, by runners of the queue, and given once."""

from __future__ import annotations

import asyncio

import pytest

from application.ports import Work
from infrastructure.nats import offers
from infrastructure.nats.connection import Connection
from infrastructure.nats.offers import Heard
from infrastructure.nats.signals import signal
from infrastructure.nats.subjects import offer_subject
from tests.waiting import eventually


@pytest.fixture(autouse=True)
def patience(monkeypatch: pytest.MonkeyPatch) -> None:
    """A busy machine forgets nothing before a test has looked."""
    monkeypatch.setattr(offers, "GOOD_FOR_S", 60)


def work(number: int, queue: str = "default") -> Work:
    return Work(execution_id=f"e.{number}", step="crew", turn=1, queue=queue)


async def heard_by(connection: Connection, *sent: Work) -> Heard:
    """Somebody who listens to `default`, once it has heard all that was sent."""
    heard = Heard()
    await heard.listen(connection, ["default"])
    for each in (*sent, work(999)):
        await signal(connection, offer_subject(each), each.execution_id.encode())
    await eventually(lambda: heard.take(work(999)) is not None)
    return heard


async def test_an_offer_is_given_once(nats_connection: Connection) -> None:
    heard = await heard_by(nats_connection, work(1), work(2))
    assert heard.take(work(2)) == b"e.2"
    assert heard.take(work(2)) is None
    assert heard.take(work(1)) == b"e.1"


async def test_offers_of_other_queues_are_not_heard(nats_connection: Connection) -> None:
    heard = await heard_by(nats_connection, work(1, "default.gpu"), work(2, "gpu"))
    assert heard.take(work(1, "default.gpu")) is None
    assert heard.take(work(2, "gpu")) is None


async def test_an_offer_is_forgotten_after_a_moment(
    nats_connection: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    heard = await heard_by(nats_connection)
    monkeypatch.setattr(offers, "GOOD_FOR_S", 0.01)
    await signal(nats_connection, offer_subject(work(1)), b"e.1")
    await asyncio.sleep(0.5)
    assert heard.take(work(1)) is None


async def test_only_the_newest_are_kept(nats_connection: Connection, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(offers, "MAX_HEARD", 2)
    heard = await heard_by(nats_connection, work(1), work(2), work(3))
    assert [heard.take(work(number)) for number in (1, 2, 3)] == [None, None, b"e.3"]
