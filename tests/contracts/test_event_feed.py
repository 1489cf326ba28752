"""The contract of the event feed, on memory and JetStream."""

from __future__ import annotations

import pytest

from application.ports import EventFeed
from infrastructure.nats.connection import Connection
from infrastructure.nats.feed import JetStreamFeed
from infrastructure.nats.memory import MemoryFeed
from tests.contracts.event_feed_contract import EventFeedContract


class TestMemoryFeed(EventFeedContract):
    @pytest.fixture
    def feed(self) -> EventFeed:
        return MemoryFeed()


class TestJetStreamFeed(EventFeedContract):
    @pytest.fixture
    def feed(self, nats_connection: Connection) -> EventFeed:
        return JetStreamFeed(nats_connection)
