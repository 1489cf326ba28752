"""Who is there: the server knows whose connection is gone."""

from __future__ import annotations

import pytest

from domain.errors import Unavailable
from infrastructure.nats.attendance import Attendance, attend
from infrastructure.nats.connection import Connection, connect
from infrastructure.nats.server import NatsServer
from infrastructure.nats.subjects import attendance_subject
from tests.nats_servers import crash
from tests.waiting import eventually


async def absent(find_absent: Attendance, *names: str) -> set[str] | None:
    """None: NATS was away."""
    try:
        return await find_absent(names)
    except Unavailable:
        return None


async def test_who_has_left_is_absent_and_who_answers_is_not(
    nats_url: str, nats_connection: Connection
) -> None:
    find_absent = Attendance(nats_connection)
    runner = await connect(nats_url, "runner")
    await attend(runner, "host.example-7")
    await runner.flush()
    assert await find_absent(("host.example-7", "nobody")) == {"nobody"}
    await runner.close()
    assert await eventually(lambda: absent(find_absent, "host.example-7")) == {"host.example-7"}


async def test_who_is_too_busy_to_answer_is_there(nats_connection: Connection) -> None:
    await nats_connection.subscribe(attendance_subject("busy"))
    await nats_connection.flush()
    assert await Attendance(nats_connection)(("busy",)) == set()


async def test_nobody_is_called_absent_while_the_server_is_away(
    own_nats_server: NatsServer, nats_url: str, nats_connection: Connection
) -> None:
    find_absent = Attendance(nats_connection)
    runner = await connect(nats_url, "runner")
    await attend(runner, "r")
    await crash(own_nats_server)
    await eventually(lambda: not nats_connection.is_connected)
    with pytest.raises(Unavailable):
        await find_absent(("r",))
    await own_nats_server.start_again()
    await eventually(lambda: nats_connection.is_connected and runner.is_connected)
    with pytest.raises(Unavailable):
        await find_absent(("r",))
    assert await find_absent(("r", "nobody")) == {"nobody"}
    await runner.close()
