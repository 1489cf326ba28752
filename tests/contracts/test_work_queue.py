"""The contract of the work queue, on memory and JetStream."""

from __future__ import annotations

import pytest

from application.ports import WorkQueue
from infrastructure.nats.connection import Connection
from infrastructure.nats.memory import MemoryWorkQueue
from infrastructure.nats.work import JetStreamWorkQueue
from tests.contracts.work_queue_contract import LEASE_S, WorkQueueContract


class TestMemoryWorkQueue(WorkQueueContract):
    @pytest.fixture
    def queue(self) -> WorkQueue:
        return MemoryWorkQueue(lease_s=LEASE_S)


class TestJetStreamWorkQueue(WorkQueueContract):
    @pytest.fixture
    def queue(self, nats_connection: Connection) -> WorkQueue:
        return JetStreamWorkQueue(nats_connection, lease_s=LEASE_S)
