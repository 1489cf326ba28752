"""Idempotency keys are forgotten by their age, on both databases, while commands go on."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta

import msgspec
import pytest

from application.ports import CommandRecord, EventLog
from infrastructure.event_log.forgetting import PAGE, forget_idempotency_keys
from tests.contracts.event_log_commands import a_command
from tests.infrastructure.event_log.audited import tamper

LONG_AGO = "2026-01-01 00:00:00"


async def append(log: EventLog, key: str) -> None:
    record = CommandRecord(key=key, request_hash="h", command_id="c")
    await log.append(msgspec.structs.replace(a_command(f"execution-{key}"), record=record))


@pytest.mark.parametrize("old", [3, 2 * PAGE + 1])
async def test_only_keys_that_came_before_the_moment_are_forgotten(
    event_log: EventLog, event_log_url: str, old: int
) -> None:
    await asyncio.gather(*(append(event_log, f"old-{number:05}") for number in range(old)))
    tamper(event_log_url, f"UPDATE kasal_commands SET at = '{LONG_AGO}'")
    await append(event_log, "a-new-one")
    await append(event_log, "young")
    before = datetime.now(UTC) - timedelta(days=7)
    forgetting = asyncio.create_task(forget_idempotency_keys(event_log_url, before))
    await asyncio.gather(*(append(event_log, f"meanwhile-{number}") for number in range(20)))
    assert await forgetting == old
    assert await forget_idempotency_keys(event_log_url, before) == 0
    assert await event_log.command_record("old-00000") is None
    for key in ("a-new-one", "young", "meanwhile-7"):
        assert await event_log.command_record(key) is not None
