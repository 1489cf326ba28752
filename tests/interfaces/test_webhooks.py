"""Webhooks end to end: subscribed over HTTP, delivered to a real endpoint, checked as a receiver checks."""

from __future__ import annotations

import pytest
from cloudevents.core.bindings.http import HTTPMessage, from_structured_event
from cloudevents.core.formats.json import JSONFormat
from standardwebhooks import WebhookVerificationError

from tests.interfaces.endpoint import Endpoint, listening
from tests.interfaces.stack import SECRETS, Stack
from tests.interfaces.webhook_house import (
    ENDS,
    WAIT,
    cancelled,
    send,
    subscribe,
)

pytestmark = pytest.mark.usefixtures("webhooks")


async def test_an_event_arrives_signed_as_a_cloudevent(own_stack: Stack, endpoint: Endpoint) -> None:
    subscribed = await subscribe(own_stack, endpoint, **ENDS)
    execution_id = await cancelled(own_stack, await own_stack.workflow())
    (received,) = await endpoint.until(1)
    received.verify(subscribed["secret"])
    assert received.headers["content-type"].startswith("application/cloudevents+json")
    event = from_structured_event(HTTPMessage(received.headers, received.body), JSONFormat())
    assert (event.get_type(), event.get_subject()) == ("io.kasal.execution.cancelled", execution_id)
    with pytest.raises(WebhookVerificationError):
        received.verify(SECRETS.shown(subscribed["id"], 2))


async def test_paused_it_sends_nothing_and_resumed_everything(own_stack: Stack, endpoint: Endpoint) -> None:
    subscribed = await subscribe(own_stack, endpoint, **ENDS)
    workflow_id = await own_stack.workflow()
    first = await cancelled(own_stack, workflow_id)
    await endpoint.until(1)
    await send(own_stack, f"{subscribed['id']}/pause")
    async with listening() as other:
        await subscribe(own_stack, other, **ENDS)
        during = await cancelled(own_stack, workflow_id)
        await other.until(1)
    assert len(endpoint.received) == 1
    await send(own_stack, f"{subscribed['id']}/resume")
    await endpoint.until(2)
    assert [each.event["subject"] for each in endpoint.received] == [first, during]


async def test_resumed_from_a_position_it_sends_again_what_lies_behind_it(
    own_stack: Stack, endpoint: Endpoint
) -> None:
    head = await own_stack.log.head()
    subscribed = await subscribe(own_stack, endpoint, **ENDS)
    workflow_id = await own_stack.workflow()
    ids = [await cancelled(own_stack, workflow_id) for _ in range(3)]
    await endpoint.until(3)
    await send(own_stack, f"{subscribed['id']}/pause")
    await send(own_stack, f"{subscribed['id']}/resume", {"after": head})
    await endpoint.until(6)
    assert sorted(each.event["subject"] for each in endpoint.received) == sorted(ids * 2)


async def test_a_subscription_begins_behind_the_position_that_it_names(
    own_stack: Stack, endpoint: Endpoint
) -> None:
    await subscribe(own_stack, endpoint, after=0, wanted={"types": ["catalog.*"]})
    (received,) = await endpoint.until(1)
    assert received.position == 1


async def test_both_secrets_sign_while_one_takes_over(own_stack: Stack, endpoint: Endpoint) -> None:
    subscribed = await subscribe(own_stack, endpoint, **ENDS)
    rotated = await send(own_stack, f"{subscribed['id']}/rotate-secret")
    assert rotated["secret"] not in ("", subscribed["secret"])
    await send(own_stack, f"{subscribed['id']}/test")
    received = (await endpoint.until(1))[-1]
    received.verify(subscribed["secret"])
    received.verify(rotated["secret"])
    last = await send(own_stack, f"{subscribed['id']}/rotate-secret", {"overlap_s": 0})
    await send(own_stack, f"{subscribed['id']}/test")
    received = (await endpoint.until(2))[-1]
    received.verify(last["secret"])
    with pytest.raises(WebhookVerificationError):
        received.verify(rotated["secret"])


async def test_a_test_arrives_whatever_the_filter_says(own_stack: Stack, endpoint: Endpoint) -> None:
    subscribed = await subscribe(own_stack, endpoint, wanted={"workflow_id": "none", "types": ["workflow.*"]})
    await send(own_stack, f"{subscribed['id']}/test")
    (received,) = await endpoint.until(1)
    assert (received.name, received.event["subject"]) == ("subscription.tested", subscribed["id"])


async def test_a_workflow_narrows_it_down(own_stack: Stack, endpoint: Endpoint) -> None:
    ours, other = await own_stack.workflow(), await own_stack.workflow()
    await subscribe(own_stack, endpoint, wanted={"workflow_id": ours, "statuses": ["CANCELLED"]})
    await cancelled(own_stack, other)
    execution_id = await cancelled(own_stack, ours)
    (received,) = await endpoint.until(1)
    assert received.event["subject"] == execution_id


async def test_deleted_it_sends_nothing_more(own_stack: Stack, endpoint: Endpoint) -> None:
    subscribed = await subscribe(own_stack, endpoint, **ENDS)
    path = f"/v1/subscriptions/{subscribed['id']}"
    assert (await own_stack.client.delete(path, headers=WAIT)).status_code == 202
    async with listening() as other:
        await subscribe(own_stack, other, **ENDS)
        await cancelled(own_stack, await own_stack.workflow())
        await other.until(1)
    assert endpoint.received == []
    assert (await own_stack.client.get(path)).status_code == 404
    assert (await own_stack.client.post(f"{path}/pause")).status_code == 404


@pytest.mark.parametrize(
    ("body", "status", "pointer"),
    [
        ({"url": "http://example.com/hook"}, 422, "/url"),
        ({"url": "https://10.0.0.1/hook"}, 422, "/url"),
        ({"url": "https://[::1]/hook"}, 422, "/url"),
        ({"url": "https://localhost/hook"}, 422, "/url"),
        ({"url": "https://user:secret@example.com/"}, 422, "/url"),
        ({"url": "ftp://example.com"}, 422, "/url"),
        ({"url": "https://example.com", "wanted": {"types": ["execution.done"]}}, 422, "/wanted/types"),
        ({"url": "https://example.com", "wanted": {"statuses": ["DONE"]}}, 422, "/wanted/statuses/0"),
        ({"url": "https://example.com", "secret": "x"}, 422, "/secret"),
        ({"url": "https://example.com", "after": -1}, 422, "/after"),
        ({}, 422, "/url"),
    ],
)
async def test_a_wrong_subscription_is_refused_with_its_field(
    own_stack: Stack, body: dict[str, object], status: int, pointer: str
) -> None:
    answer = await own_stack.client.post("/v1/subscriptions", json=body)
    assert answer.status_code == status, answer.text
    assert pointer in [error["pointer"] for error in answer.json()["errors"]]


async def test_a_repeat_of_the_key_shows_the_same_secret_and_no_list_shows_any(
    own_stack: Stack, endpoint: Endpoint
) -> None:
    headers = {"Idempotency-Key": "k1", **WAIT}
    body = {"url": endpoint.url, **ENDS}
    answers = [await own_stack.client.post("/v1/subscriptions", json=body, headers=headers) for _ in range(2)]
    assert answers[0].json() == answers[1].json()
    secret = answers[0].json()["secret"].removeprefix("whsec_")
    listed = (await own_stack.client.get("/v1/subscriptions")).text
    events = [recorded.body for recorded in await own_stack.log.read_all(0, 1_000)]
    assert secret not in listed
    assert not any(secret.encode() in event for event in events)
