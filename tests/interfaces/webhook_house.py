"""Webhooks in tests: a deliverer beside a stack, and what a client of the API does.

Used by the tests of webhooks. Its one rule: nothing is a mock: the endpoint is a server, the sender
the real one.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from application.live_events import LiveEvents
from application.webhooks.deliverer import Deliverer
from application.webhooks.outcomes import Patience
from application.webhooks.progress import ProgressStore
from application.webhooks.sharing import Share
from infrastructure.clock import SystemClock
from infrastructure.nats.cloudevents import to_cloudevent
from infrastructure.webhooks.sending import Sender
from projections.positions import position_of
from projections.subscriptions import NAME, all_subscriptions
from tests.interfaces.endpoint import Endpoint
from tests.interfaces.stack import SECRETS, Stack

WAIT = {"Prefer": "wait=10"}
QUICK = Patience([0.05] * 4)


@asynccontextmanager
async def delivering(
    stack: Stack,
    store: ProgressStore,
    *,
    patience: Patience = QUICK,
    name: str = "",
    timeout_s: float = 5,
) -> AsyncIterator[asyncio.Task[None]]:
    """A deliverer beside the stack; with a name, one of several."""

    async def known() -> tuple[int, list[str]]:
        return await position_of(stack.read, [NAME]), await all_subscriptions(stack.read)

    sender = Sender(("127.0.0.1",))
    deliverer = Deliverer(
        LiveEvents(stack.log, stack.feed),
        stack.commands,
        store,
        known,
        sender.post,
        SECRETS,
        to_cloudevent,
        SystemClock(),
        share=Share(store, name, is_alone=not name),
        patience=patience,
    )
    stack.progress.store = store
    task = asyncio.create_task(deliverer.run())
    try:
        yield task
    finally:
        task.cancel()
        await asyncio.wait([task])
        await sender.close()


async def subscribe(stack: Stack, endpoint: Endpoint, **more: object) -> dict[str, Any]:
    answer = await stack.client.post("/v1/subscriptions", json={"url": endpoint.url, **more}, headers=WAIT)
    assert answer.status_code == 201, answer.text
    subscribed: dict[str, Any] = answer.json()
    return subscribed


async def send(stack: Stack, path: str, body: object | None = None) -> dict[str, Any]:
    answer = await stack.client.post(f"/v1/subscriptions/{path}", json=body or {}, headers=WAIT)
    assert answer.status_code == 202, answer.text
    done: dict[str, Any] = answer.json()
    return done


async def shown(stack: Stack, subscription_id: str) -> dict[str, Any]:
    found: dict[str, Any] = (await stack.client.get(f"/v1/subscriptions/{subscription_id}")).json()
    return found


async def cancelled(stack: Stack, workflow_id: str) -> str:
    started = await stack.execution(workflow_id)
    assert (await stack.client.post(f"/v1/executions/{started['id']}/cancel")).status_code == 202
    return str(started["id"])


ENDS = {"wanted": {"types": ["execution.cancelled"]}}


async def is_disabled(stack: Stack, subscription_id: str) -> bool:
    return bool((await shown(stack, subscription_id))["standing"] == "DISABLED")
