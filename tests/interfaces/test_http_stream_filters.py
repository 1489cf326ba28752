"""What filters leave out of a stream, and that its place moves on all the same; a bound on open streams."""

from __future__ import annotations

from pathlib import Path

import httpx
import pytest
from httpx_sse import ServerSentEvent, aconnect_sse

from infrastructure.nats.memory import MemoryFeed
from tests.interfaces.sse import ServerSent, stream
from tests.interfaces.stack import Stack, running


async def cancelled(stack: Stack, workflow_id: str) -> str:
    """The id of an execution of a workflow that was started and cancelled."""
    started = await stack.execution(workflow_id)
    answer = await stack.client.post(f"/v1/executions/{started['id']}/cancel")
    assert answer.status_code == 202
    return str(started["id"])


def seen(events: list[ServerSent]) -> list[tuple[str, str]]:
    return [(event.name.removeprefix("io.kasal."), event.data["subject"]) for event in events]


async def test_types_narrow_all_events_down(stack: Stack) -> None:
    head = await stack.log.head()
    workflow_id = await stack.workflow()
    first = await cancelled(stack, workflow_id)
    types = "workflow.*,io.kasal.execution.cancelled"
    async with stream(stack.client, "/v1/events", after=head, type=types) as reader:
        events = await reader.take(2)
        second = await cancelled(stack, workflow_id)
        events += await reader.take(1)
    assert seen(events) == [
        ("workflow.created", workflow_id),
        ("execution.cancelled", first),
        ("execution.cancelled", second),
    ]


async def test_statuses_narrow_all_events_down(stack: Stack) -> None:
    head = await stack.log.head()
    one = await cancelled(stack, await stack.workflow())
    async with stream(stack.client, "/v1/events", after=head, status="PENDING,CANCELLED") as reader:
        assert seen(await reader.take(2)) == [("execution.requested", one), ("execution.cancelled", one)]


async def test_a_workflow_narrows_all_events_down_to_itself_and_its_executions(stack: Stack) -> None:
    ours, other = await stack.workflow(), await stack.workflow()
    begun_before = await stack.execution(ours)
    head = await stack.log.head()
    await cancelled(stack, other)
    async with stream(stack.client, "/v1/events", after=head, workflow_id=ours) as reader:
        during = await cancelled(stack, ours)
        events = await reader.take(3)
        await cancelled(stack, other)
        await stack.client.post(f"/v1/executions/{begun_before['id']}/cancel")
        await stack.client.post(f"/v1/workflows/{ours}/archive")
        events += await reader.take(2)
    assert seen(events) == [
        ("execution.requested", during),
        ("execution.step_scheduled", during),
        ("execution.cancelled", during),
        ("execution.cancelled", begun_before["id"]),
        ("workflow.archived", ours),
    ]


async def test_a_filtered_stream_of_an_execution_still_ends_with_it(stack: Stack) -> None:
    one = await cancelled(stack, await stack.workflow())
    path = f"/v1/executions/{one}/stream"
    async with stream(stack.client, path, type="execution.requested") as reader:
        names = [event.name for event in await reader.rest()]
    assert names == ["io.kasal.execution.requested", "end"]


async def test_a_client_whose_filter_leaves_everything_out_learns_where_it_would_go_on(
    stack: Stack, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("interfaces.http.streaming.HEARTBEAT_S", 0.05)
    head = await stack.log.head()
    async with stream(stack.client, "/v1/events", after=head, type="workflow.archived") as reader:
        await cancelled(stack, await stack.workflow())
        while (event := await reader.next()) is not None and event.position < await stack.log.head():
            assert event.name == "position"
    async with stream(stack.client, "/v1/events", last_event_id=event.position if event else 0) as reader:
        workflow_id = await stack.workflow()
        assert seen(await reader.take(1)) == [("workflow.created", workflow_id)]


@pytest.mark.parametrize(
    ("params", "pointer"),
    [
        ({"type": "execution.done"}, "/query/type"),
        ({"type": ""}, "/query/type"),
        ({"status": "DONE"}, "/query/status"),
        ({"workflow_id": ""}, "/query/workflow_id"),
        ({"kind": "x"}, "/query/kind"),
    ],
)
async def test_a_wrong_filter_is_refused_by_its_name(
    client: httpx.AsyncClient, params: dict[str, str], pointer: str
) -> None:
    answer = await client.get("/v1/events", params=params)
    assert answer.status_code == 400
    assert [error["pointer"] for error in answer.json()["errors"]] == [pointer]


async def test_one_stream_too_many_is_told_to_come_again(tmp_path: Path) -> None:
    async with (
        running(tmp_path, MemoryFeed(), max_streams=2) as stack,
        stream(stack.client, "/v1/events"),
        stream(stack.client, "/v1/events"),
    ):
        answer = await stack.client.get("/v1/events")
        assert (answer.status_code, answer.json()["code"]) == (503, "unavailable")
        assert answer.headers["Retry-After"] == "5"


async def test_an_independent_client_reads_the_stream(stack: Stack, monkeypatch: pytest.MonkeyPatch) -> None:
    """httpx-sse, which shares no code with us: heartbeats are no events to it."""
    monkeypatch.setattr("interfaces.http.streaming.HEARTBEAT_S", 0.02)
    one = await stack.execution()
    path = f"/v1/executions/{one['id']}/stream"
    events: list[ServerSentEvent] = []
    async with aconnect_sse(stack.client, "GET", path) as source:
        async for event in source.aiter_sse():
            events.append(event)
            if len(events) == 2:
                await stack.client.get("/v1/workflows", params={"after": one["position"]})
                await stack.client.post(f"/v1/executions/{one['id']}/cancel")
    assert [event.event.rpartition(".")[2] for event in events] == [
        "requested",
        "step_scheduled",
        "cancelled",
        "end",
    ]
    assert events[0].retry == 3000
    assert [int(event.id) for event in events[:3]] == sorted(int(event.id) for event in events[:3])
