"""The JetStream work queue when the server, the stream or the connection is lost."""

from __future__ import annotations

import asyncio
import shutil
from pathlib import Path

import pytest
from nats.aio.msg import Msg

from application.ports import Delivery, WorkQueue
from domain.errors import Unavailable
from infrastructure.nats import pulls
from infrastructure.nats.connection import Connection, connect
from infrastructure.nats.jetstream import ask
from infrastructure.nats.precedence import lanes
from infrastructure.nats.server import NatsServer
from infrastructure.nats.subjects import WORK
from infrastructure.nats.work import JetStreamWorkQueue
from tests.contracts.work_queue_contract import a_step, nothing, taken
from tests.nats_servers import crash
from tests.waiting import eventually


@pytest.fixture
def queue(nats_connection: Connection) -> JetStreamWorkQueue:
    return JetStreamWorkQueue(nats_connection, lease_s=2)


async def enqueued(queue: WorkQueue, execution: str) -> bool:
    try:
        await queue.enqueue(a_step(execution))
    except Unavailable:
        return False
    return True


async def test_who_waits_goes_on_waiting_while_the_server_is_killed(
    queue: JetStreamWorkQueue, own_nats_server: NatsServer
) -> None:
    taking = asyncio.create_task(taken(queue))
    assert await nothing(queue, "other", within_s=0.1)
    await crash(own_nats_server)
    await own_nats_server.start_again()
    await eventually(lambda: enqueued(queue, "e1"))
    assert (await taking).work == a_step("e1")


async def test_work_survives_the_server(queue: JetStreamWorkQueue, own_nats_server: NatsServer) -> None:
    await queue.enqueue(a_step("e1"))
    await queue.enqueue(a_step("e2"))
    first = await taken(queue)
    await crash(own_nats_server)
    await own_nats_server.start_again()
    await eventually(lambda: is_done(first))
    assert (await taken(queue)).work == a_step("e2")
    assert await nothing(queue, within_s=1)


async def is_done(delivery: Delivery) -> bool:
    try:
        await delivery.done()
    except Unavailable:
        return False
    return True


async def test_a_lost_store_is_made_again_by_whoever_comes_next(
    queue: JetStreamWorkQueue, own_nats_server: NatsServer, tmp_path: Path
) -> None:
    before = await queue.incarnation()
    taking = asyncio.create_task(taken(queue))
    assert await nothing(queue, "other", within_s=0.1)
    await crash(own_nats_server)
    shutil.rmtree(tmp_path / "nats" / "jetstream")
    await own_nats_server.start_again()
    await eventually(lambda: enqueued(queue, "e1"))
    assert (await taking).work == a_step("e1")
    assert await queue.incarnation() != before


async def test_who_waits_notices_that_the_stream_is_deleted(
    queue: JetStreamWorkQueue, nats_connection: Connection
) -> None:
    taking = asyncio.create_task(taken(queue))
    assert await nothing(queue, "other", within_s=0.1)
    await ask(nats_connection, f"STREAM.DELETE.{WORK}")
    await queue.enqueue(a_step("e1"))
    assert (await taking).work == a_step("e1")


async def test_the_end_of_lost_work_does_not_end_new_work(
    queue: JetStreamWorkQueue, nats_connection: Connection
) -> None:
    """A message of the new stream must not be acknowledged by one that has its number in the old."""
    await queue.enqueue(a_step("old"))
    old = await taken(queue)
    await ask(nats_connection, f"STREAM.DELETE.{WORK}")
    await queue.enqueue(a_step("new"))
    await taken(queue)
    await old.done()
    again = await taken(queue)
    assert (again.work, again.number) == (a_step("new"), 2)


async def test_work_whose_queue_is_lost_can_be_ended(
    queue: JetStreamWorkQueue, nats_connection: Connection
) -> None:
    await queue.enqueue(a_step())
    delivery = await taken(queue)
    await ask(nats_connection, f"STREAM.DELETE.{WORK}")
    await delivery.extend()
    await delivery.done()


async def test_without_a_server_work_is_not_accepted_and_nothing_is_taken(
    queue: JetStreamWorkQueue, own_nats_server: NatsServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("infrastructure.nats.jetstream.API_TIMEOUT_S", 0.3)
    await crash(own_nats_server)
    with pytest.raises(Unavailable):
        await queue.enqueue(a_step())
    assert await nothing(queue)


async def test_what_is_no_work_is_thrown_away(queue: JetStreamWorkQueue, nats_connection: Connection) -> None:
    await queue.incarnation()
    await nats_connection.request("kasal.steps.default.5.e1.write.1", b"not work")
    await queue.enqueue(a_step("e2"))
    assert (await taken(queue)).work == a_step("e2")
    assert (await ask(nats_connection, f"STREAM.INFO.{WORK}")).state.messages == 1


async def test_takers_of_a_runner_that_is_killed_take_nothing_with_them(
    queue: JetStreamWorkQueue, nats_url: str
) -> None:
    other = await connect(nats_url, "other")
    taking = asyncio.create_task(taken(JetStreamWorkQueue(other, lease_s=60)))
    assert await nothing(queue, "elsewhere", within_s=0.1)
    await other.close()
    await queue.enqueue(a_step())
    async with asyncio.timeout(60):
        assert (await taken(queue)).work == a_step()
    taking.cancel()


async def test_many_takes_on_one_queue_leave_no_pulls_behind(
    queue: JetStreamWorkQueue, nats_connection: Connection
) -> None:
    """A busy queue must not pile up requests on a quiet one that is asked beside it."""
    for number in range(300):
        await queue.enqueue(a_step(f"e{number}", queue="busy"))
        await (await taken(queue, "quiet", "busy")).done()
    info = await nats_connection.jetstream().consumer_info(WORK, "quiet-5")
    assert (info.num_waiting or 0) <= 1


async def test_a_piece_of_work_costs_one_request(
    queue: JetStreamWorkQueue, nats_connection: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However many lanes there are, once a pull waits at each."""
    monkeypatch.setattr(pulls, "PULL_S", 60.0)  # none has to be asked again on a slow machine
    requests: list[str] = []

    async def asked(message: Msg) -> None:
        requests.append(message.subject)

    def a_pull_waits_at_each() -> bool:
        return {pull.lane for pull in queue._pulls._pulls.values()} == set(lanes(["default"], 0))

    taking = asyncio.create_task(taken(queue))
    await eventually(a_pull_waits_at_each)
    await nats_connection.subscribe("$JS.API.CONSUMER.MSG.NEXT.>", cb=asked)
    for number in range(20):
        await queue.enqueue(a_step(f"e{number}"))
        await (await taking).done()
        taking = asyncio.create_task(taken(queue))
        await eventually(a_pull_waits_at_each)
    taking.cancel()
    await nats_connection.flush()
    assert len(requests) == 20
