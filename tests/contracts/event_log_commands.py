"""Commands as tests of the log write them: `a_command("order-1", at=0)`. Nothing in them means anything."""

from __future__ import annotations

from application.ports import Append, CommandRecord, NewEvent
from domain.message import Metadata
from infrastructure.clock import SystemClock

clock = SystemClock()


def a_command(
    stream: str,
    *,
    at: int = 0,
    events: int = 1,
    body: bytes = b'{"type":"thing.happened"}',
    tag: str = "thing.happened",
    guards: tuple[tuple[str, int], ...] = (),
    key: str | None = None,
) -> Append:
    """A command of its own id, whose events differ by id only."""
    command_id = clock.new_id()
    return Append(
        stream=stream,
        expected_version=at,
        events=tuple(NewEvent(tag, body, some_metadata(command_id)) for _ in range(events)),
        guards=guards,
        record=None if key is None else a_record(key, command_id),
    )


def some_metadata(command_id: str) -> Metadata:
    return Metadata(
        event_id=clock.new_id(),
        at=clock.now(),
        tenant="default",
        actor="user:ada",
        command_id=command_id,
        correlation_id=command_id,
    )


def a_record(key: str, command_id: str) -> CommandRecord:
    return CommandRecord(key=key, request_hash="5e1f", command_id=command_id, response=b'{"id":"1"}')
