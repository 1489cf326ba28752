"""Webhooks when things go wrong: endpoints that refuse, are slow or gone; deliverers that take over."""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from application.webhooks.outcomes import Patience
from infrastructure.nats.connection import connect
from infrastructure.nats.feed import JetStreamFeed
from infrastructure.nats.progress import JetStreamProgress
from infrastructure.nats.server import NatsServer
from infrastructure.webhooks.memory import MemoryProgress
from tests.interfaces.endpoint import Endpoint, Received, listening
from tests.interfaces.stack import Stack, running
from tests.interfaces.webhook_house import (
    ENDS,
    cancelled,
    delivering,
    is_disabled,
    send,
    shown,
    subscribe,
)
from tests.nats_servers import crash
from tests.waiting import eventually


async def test_the_events_of_an_execution_come_in_order_whatever_fails(
    own_stack: Stack, webhooks: MemoryProgress, endpoint: Endpoint
) -> None:
    """Each event fails none to four times, by its position; it is given up after five."""
    failures, replies = (500, 503, 302, 404), dict[int, int]()
    attempts: Counter[int] = Counter()

    def answer(received: Received) -> tuple[int, dict[str, str]]:
        key, position = id(received), received.position
        if key not in replies:
            replies[key] = failures[attempts[position]] if attempts[position] < position % 5 else 200
            attempts[position] += 1
        return replies[key], {"Location": "http://127.0.0.1:1/elsewhere"} if replies[key] == 302 else {}

    endpoint.answer = answer
    await subscribe(own_stack, endpoint, wanted={"types": ["execution.*"]})
    workflow_id = await own_stack.workflow()
    ids = [await cancelled(own_stack, workflow_id) for _ in range(5)]
    await eventually(lambda: len(endpoint.taken) >= 15)
    for execution_id in ids:
        names = [each.name for each in endpoint.taken if each.event["subject"] == execution_id]
        assert names == ["execution.requested", "execution.step_scheduled", "execution.cancelled"]


async def test_a_delivery_that_fails_keeps_its_id_and_gets_a_new_time(
    own_stack: Stack, webhooks: MemoryProgress, endpoint: Endpoint
) -> None:
    endpoint.answer = lambda _: (500 if len(endpoint.received) < 3 else 200, {})
    subscribed = await subscribe(own_stack, endpoint, **ENDS)
    await cancelled(own_stack, await own_stack.workflow())
    received = await endpoint.until(3)
    assert len({each.headers["webhook-id"] for each in received}) == 1
    for each in received:
        each.verify(subscribed["secret"])


async def test_it_is_shown_how_far_a_delivery_is_and_when_it_is_tried_again(
    own_stack: Stack, endpoint: Endpoint
) -> None:
    store = MemoryProgress()
    async with delivering(own_stack, store, patience=Patience([60.0])):
        subscribed = await subscribe(own_stack, endpoint, **ENDS)
        path = f"/v1/subscriptions/{subscribed['id']}/delivery"
        assert (await own_stack.client.get("/v1/subscriptions/nobody/delivery")).status_code == 404
        await cancelled(own_stack, await own_stack.workflow())
        (taken,) = await endpoint.until(1)

        async def is_taken() -> bool:
            found = (await own_stack.client.get(path)).json()
            return found["position"] is not None and found["last_taken_at"] is not None

        await eventually(is_taken)
        endpoint.answer = lambda _: (500, {})
        await cancelled(own_stack, await own_stack.workflow())
        await endpoint.until(2)

        async def failing() -> dict[str, Any] | None:
            found: dict[str, Any] = (await own_stack.client.get(path)).json()
            return found if found["failures"] else None

        found = await eventually(failing)
    assert found is not None
    assert (found["waiting"], found["failures"]) == (1, 1)
    assert found["last_taken_at"] < found["failing_since"] < found["next_try_at"]
    assert taken.position <= found["position"] == endpoint.received[-1].position - 1
    assert found["lag"] == await own_stack.log.head() - found["position"]


async def test_one_slow_endpoint_delays_no_other(
    own_stack: Stack, webhooks: MemoryProgress, endpoint: Endpoint
) -> None:
    async with listening() as slow:
        slow.gate.clear()
        await subscribe(own_stack, slow, wanted={"types": ["execution.*"]})
        await subscribe(own_stack, endpoint, **ENDS)
        workflow_id = await own_stack.workflow()
        for _ in range(10):
            await cancelled(own_stack, workflow_id)
        await endpoint.until(10)
        assert slow.taken == [] or len(slow.received) <= 8


async def test_what_is_never_taken_becomes_a_dead_letter_and_can_be_sent_again(
    own_stack: Stack, webhooks: MemoryProgress, endpoint: Endpoint
) -> None:
    workflow_id = await own_stack.workflow()
    poison = await own_stack.execution(workflow_id)
    endpoint.answer = lambda each: (400 if each.event["subject"] == poison["id"] else 200, {})
    subscribed = await subscribe(own_stack, endpoint, wanted={"types": ["execution.*"]})
    await own_stack.client.post(f"/v1/executions/{poison['id']}/cancel")
    others = [await cancelled(own_stack, workflow_id) for _ in range(3)]
    path = f"/v1/subscriptions/{subscribed['id']}/dead-letters"

    async def letters() -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = (await own_stack.client.get(path)).json()["items"]
        return found

    (letter,) = await eventually(letters)
    assert (letter["attempts"], letter["reason"]) == (5, "answered 400")
    assert {each.event["subject"] for each in endpoint.taken} == set(others)
    endpoint.answer = lambda _: (200, {})
    await send(own_stack, f"{subscribed['id']}/dead-letters/replay")

    async def are_gone() -> bool:
        return not await letters()

    await eventually(are_gone)
    assert endpoint.received[-1].position == letter["position"]
    assert (await shown(own_stack, subscribed["id"]))["dead_letters"] == 0


async def test_an_endpoint_that_takes_nothing_is_disabled_and_loses_nothing(
    own_stack: Stack, webhooks: MemoryProgress, endpoint: Endpoint
) -> None:
    endpoint.answer = lambda _: (500, {})
    subscribed = await subscribe(own_stack, endpoint, **ENDS)
    ids = [await cancelled(own_stack, await own_stack.workflow())]
    await eventually(lambda: is_disabled(own_stack, subscribed["id"]))
    assert "took nothing" in (await shown(own_stack, subscribed["id"]))["disabled_because"]
    ids.append(await cancelled(own_stack, await own_stack.workflow()))
    endpoint.answer = lambda _: (200, {})
    count = len(endpoint.received)
    await send(own_stack, f"{subscribed['id']}/resume")
    await endpoint.until(count + 2)
    assert {each.event["subject"] for each in endpoint.received[count:]} == set(ids)


async def test_gone_is_disabled_at_once(
    own_stack: Stack, webhooks: MemoryProgress, endpoint: Endpoint
) -> None:
    endpoint.answer = lambda _: (410, {})
    subscribed = await subscribe(own_stack, endpoint, **ENDS)
    await cancelled(own_stack, await own_stack.workflow())
    await eventually(lambda: is_disabled(own_stack, subscribed["id"]))
    assert len(endpoint.received) == 1


async def test_retry_after_is_obeyed_for_the_whole_endpoint(
    own_stack: Stack, webhooks: MemoryProgress, endpoint: Endpoint
) -> None:
    endpoint.answer = lambda _: (429, {"Retry-After": "3600"})
    await subscribe(own_stack, endpoint, **ENDS)
    await cancelled(own_stack, await own_stack.workflow())
    await endpoint.until(1)
    async with listening() as other:
        await subscribe(own_stack, other, **ENDS)
        for _ in range(3):
            await cancelled(own_stack, await own_stack.workflow())
        await other.until(3)
    assert len(endpoint.received) == 1


async def test_revised_it_sends_elsewhere_also_what_had_failed(
    own_stack: Stack, webhooks: MemoryProgress, endpoint: Endpoint
) -> None:
    endpoint.answer = lambda _: (429, {"Retry-After": "3600"})
    subscribed = await subscribe(own_stack, endpoint, **ENDS)
    execution_id = await cancelled(own_stack, await own_stack.workflow())
    await endpoint.until(1)
    async with listening() as other:
        answer = await own_stack.client.put(
            f"/v1/subscriptions/{subscribed['id']}", json={"url": other.url, **ENDS}
        )
        assert answer.status_code == 202
        (received,) = await other.until(1)
    assert received.event["subject"] == execution_id


async def test_a_deliverer_goes_on_where_another_stopped(own_stack: Stack, endpoint: Endpoint) -> None:
    """Nothing twice after an orderly end; what had failed keeps its place before what follows it."""
    store = MemoryProgress()
    workflow_id = await own_stack.workflow()
    endpoint.answer = lambda each: (500 if each.name == "execution.step_scheduled" else 200, {})
    async with delivering(own_stack, store, patience=Patience([60.0])):
        await subscribe(own_stack, endpoint, wanted={"types": ["execution.*"]})
        started = await own_stack.execution(workflow_id)
        await endpoint.until(2)
    await own_stack.client.post(f"/v1/executions/{started['id']}/cancel")
    taken, endpoint.received[:] = len(endpoint.taken), []
    assert taken == 1
    endpoint.answer = lambda _: (200, {})
    async with delivering(own_stack, store, patience=Patience([0.05])):
        again = await cancelled(own_stack, workflow_id)
        await endpoint.until(3)
        assert {each.event["subject"] for each in endpoint.received} == {again}


@pytest.fixture
def hasty(monkeypatch: pytest.MonkeyPatch) -> None:
    """Who comes and goes is soon seen."""
    for name, seconds in (("RENEW_S", 0.1), ("GIVE_UP_S", 5.0), ("SILENT_S", 8.0), ("HANDOVER_S", 0.5)):
        monkeypatch.setattr(f"application.webhooks.sharing.{name}", seconds)


@pytest.mark.usefixtures("hasty")
async def test_deliverers_share_the_subscriptions_and_take_over_from_each_other(
    own_stack: Stack, endpoint: Endpoint
) -> None:
    store = MemoryProgress()
    ids = {(await subscribe(own_stack, endpoint, **ENDS))["id"] for _ in range(8)}
    workflow_id = await own_stack.workflow()
    async with delivering(own_stack, store, name="a") as first, delivering(own_stack, store, name="b"):
        await eventually(lambda: shares(store) == {"a", "b"}, 30)
        await cancelled(own_stack, workflow_id)
        await endpoint.until(8)
        await break_off(first)
        await cancelled(own_stack, workflow_id)
        await endpoint.until(16)
    async with delivering(own_stack, store, name="c"):
        await cancelled(own_stack, workflow_id)
        await endpoint.until(24)
    taken = [each.position for each in endpoint.received]
    assert {taken.count(position) for position in taken} == {len(ids)}
    assert taken == sorted(taken)


async def break_off(deliverer: asyncio.Task[None]) -> None:
    deliverer.cancel()
    await asyncio.wait([deliverer])


def shares(store: MemoryProgress) -> set[str]:
    return set(json.loads(store.kept("roster") or b"{}"))


@pytest.mark.usefixtures("hasty")
async def test_while_the_store_is_away_deliveries_stop_and_then_go_on(
    own_stack: Stack, endpoint: Endpoint, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("application.webhooks.sharing.GIVE_UP_S", 0.5)
    store = MemoryProgress()
    await subscribe(own_stack, endpoint, **ENDS)
    workflow_id = await own_stack.workflow()
    async with delivering(own_stack, store, name="a"):
        first = await cancelled(own_stack, workflow_id)
        await endpoint.until(1)
        store.is_away = True
        second = await cancelled(own_stack, workflow_id)
        await asyncio.sleep(1.0)
        store.is_away = False
        await eventually(lambda: second in {each.event["subject"] for each in endpoint.received})
    assert {each.event["subject"] for each in endpoint.received} == {first, second}


async def test_webhooks_outlive_nats(tmp_path: Path, own_nats_server: NatsServer, endpoint: Endpoint) -> None:
    """It is killed three times while executions are started and cancelled; each event arrives, in order."""
    connection = await connect(own_nats_server.url, "test")
    async with running(tmp_path, JetStreamFeed(connection)) as stack:
        workflow_id = await stack.workflow()
        async with delivering(stack, JetStreamProgress(connection)):
            await subscribe(stack, endpoint, wanted={"types": ["execution.*"]})
            ids = []
            for _ in range(3):
                ids += [await cancelled(stack, workflow_id) for _ in range(5)]
                await crash(own_nats_server)
                ids += [await cancelled(stack, workflow_id) for _ in range(5)]
                await own_nats_server.start_again()
            await eventually(lambda: cancellations(endpoint) >= set(ids), 60)
    await connection.close()
    for execution_id in ids:
        found = [each.event for each in endpoint.received if each.event["subject"] == execution_id]
        versions = list(dict.fromkeys(event["kasalversion"] for event in found))
        assert versions == [1, 2, 3]


def cancellations(endpoint: Endpoint) -> set[str]:
    return {each.event["subject"] for each in endpoint.received if each.name == "execution.cancelled"}
