"""Fixtures of the HTTP tests: one stack for tests that leave no trace that others would notice."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest

from infrastructure.nats.memory import MemoryFeed
from infrastructure.webhooks.memory import MemoryProgress
from tests.interfaces.endpoint import Endpoint, listening
from tests.interfaces.stack import Stack, running
from tests.interfaces.webhook_house import delivering


@pytest.fixture(scope="session")
async def shared_stack(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Stack]:
    async with running(tmp_path_factory.mktemp("http"), MemoryFeed()) as stack:
        yield stack


@pytest.fixture
def stack(shared_stack: Stack) -> Stack:
    """The stack that tests share; each makes its own workflows."""
    return shared_stack


@pytest.fixture
def client(shared_stack: Stack) -> httpx.AsyncClient:
    """A client of the shared stack."""
    return shared_stack.client


@pytest.fixture
async def own_stack(tmp_path: Path) -> AsyncIterator[Stack]:
    """A stack of the test's own, to be hurt."""
    async with running(tmp_path, MemoryFeed()) as stack:
        yield stack


@pytest.fixture
async def endpoint() -> AsyncIterator[Endpoint]:
    """An HTTP server that webhooks are sent to."""
    async with listening() as endpoint:
        yield endpoint


@pytest.fixture
async def webhooks(own_stack: Stack) -> AsyncIterator[MemoryProgress]:
    """A deliverer beside the test's own stack; where it keeps its progress."""
    store = MemoryProgress()
    async with delivering(own_stack, store):
        yield store
