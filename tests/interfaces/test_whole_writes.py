"""What a connection is told in one turn of the event loop is one write."""

from __future__ import annotations

import asyncio
from typing import Any, cast

from interfaces.processes.whole_writes import AT_MOST_BYTES, WholeWrites


class Written:
    """A transport that notes what it is told."""

    def __init__(self) -> None:
        self.told: list[object] = []

    def write(self, data: bytes) -> None:
        self.told.append(data)

    def close(self) -> None:
        self.told.append("closed")

    def get_extra_info(self, name: str) -> str:
        return f"the {name}"


def over(written: Written) -> WholeWrites:
    return WholeWrites(cast("asyncio.Transport", cast("Any", written)))


async def test_writes_of_a_turn_go_out_together_and_in_order() -> None:
    written = Written()
    transport = over(written)
    transport.write(b"head ")
    transport.write(b"body")
    assert written.told == []
    await asyncio.sleep(0)
    assert written.told == [b"head body"]
    transport.write(b"next")
    await asyncio.sleep(0)
    assert written.told == [b"head body", b"next"]


async def test_a_close_comes_behind_what_was_written() -> None:
    written = Written()
    transport = over(written)
    transport.write(b"last")
    transport.close()
    await asyncio.sleep(0)
    assert written.told == [b"last", "closed"]


async def test_no_more_than_the_bound_waits() -> None:
    """So that the transport can say in the same turn that its client takes nothing."""
    written = Written()
    transport = over(written)
    transport.write(b"head")
    transport.write(b"x" * AT_MOST_BYTES)
    assert written.told == [b"head" + b"x" * AT_MOST_BYTES]


async def test_all_else_is_the_transports() -> None:
    assert over(Written()).get_extra_info("peername") == "the peername"
