"""The contract of the event log, on memory, SQLite and PostgreSQL."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from application.ports import EventLog
from domain.errors import LogUnavailable
from infrastructure.event_log.memory import MemoryEventLog
from tests.contracts.content_store_contract import ContentStoreContract
from tests.contracts.event_log_contract import EventLogContract


class TestMemoryEventLog(EventLogContract, ContentStoreContract):
    @pytest.fixture
    async def log(self) -> AsyncIterator[EventLog]:
        log = MemoryEventLog()
        yield log
        await log.close()


class TestDurableEventLog(EventLogContract, ContentStoreContract):
    @pytest.fixture
    def log(self, event_log: EventLog) -> EventLog:
        return event_log

    async def test_a_closed_log_is_not_read(self, log: EventLog) -> None:
        await log.close()
        with pytest.raises(LogUnavailable):
            await log.head()
