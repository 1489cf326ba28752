"""What can be done to an execution over HTTP: pause, resume, cancel, retry, archive."""

from __future__ import annotations

from typing import Any

import pytest

from application.commands import Context
from domain.execution import Failure, RecordProgress, StartStep, StepFailed
from interfaces.client import Archived, AsyncKasal
from tests.interfaces.stack import Stack


async def act(stack: Stack, execution_id: str, what: str, body: object = None, **headers: str) -> Any:
    names = {name.replace("_", "-"): value for name, value in headers.items()}
    return await stack.client.post(
        f"/v1/executions/{execution_id}/{what}", json=body, headers={"Prefer": "wait=10", **names}
    )


async def test_a_pause_and_its_end_are_answered_and_shown(stack: Stack) -> None:
    started = await stack.execution()
    paused = await act(stack, started["id"], "pause", {"reason": "lunch"})
    assert (paused.status_code, paused.json()["status"]) == (202, "PAUSED")
    assert (await act(stack, started["id"], "pause")).json() == paused.json()
    shown = (await stack.client.get(f"/v1/executions/{started['id']}")).json()
    assert (shown["status"], shown["reason"]) == ("PAUSED", "lunch")
    listed = (await stack.client.get("/v1/executions?status=PAUSED")).json()["items"]
    assert started["id"] in [item["id"] for item in listed]
    resumed = await act(stack, started["id"], "resume")
    assert (resumed.status_code, resumed.json()["status"]) == (202, "PENDING")
    assert (await act(stack, started["id"], "resume")).json() == resumed.json()


async def test_an_ended_execution_refuses_a_pause_and_a_resume(stack: Stack) -> None:
    started = await stack.execution()
    await act(stack, started["id"], "cancel")
    for what in ("pause", "resume"):
        refused = await act(stack, started["id"], what)
        assert (refused.status_code, refused.json()["code"]) == (409, "rejected")
        assert "while cancelled" in refused.json()["detail"]


async def test_a_pause_at_another_version_is_refused(stack: Stack) -> None:
    started = await stack.execution()
    refused = await act(stack, started["id"], "pause", If_Match='"v9"')
    assert (refused.status_code, refused.json()["code"]) == (412, "precondition_failed")


async def test_a_repeat_by_its_key_is_answered_as_the_first_time(stack: Stack) -> None:
    started = await stack.execution()
    first = await act(stack, started["id"], "pause", Idempotency_Key="once")
    await act(stack, started["id"], "resume")
    again = await act(stack, started["id"], "pause", Idempotency_Key="once")
    assert again.json() == first.json()
    assert again.headers["idempotency-replayed"] == "true"


async def test_what_is_not_there_can_not_be_paused(stack: Stack) -> None:
    missing = await act(stack, "0190aaaa-0000-7000-8000-000000000000", "pause")
    assert (missing.status_code, missing.json()["code"]) == (404, "not_found")


async def test_a_field_that_is_not_there_is_refused_by_its_name(stack: Stack) -> None:
    started = await stack.execution()
    refused = await act(stack, started["id"], "resume", {"reason": "x"})
    assert refused.status_code == 422
    assert "reason" in refused.text


async def test_only_what_failed_or_timed_out_is_retried(stack: Stack) -> None:
    started = await stack.execution()
    refused = await act(stack, started["id"], "retry")
    assert (refused.status_code, refused.json()["code"]) == (409, "rejected")
    assert "expected failed or timed_out" in refused.json()["detail"]


async def test_a_failed_execution_goes_on_after_a_retry(stack: Stack) -> None:
    started = await stack.execution()
    await stack.commands.handle(
        StartStep(execution_id=started["id"], step="crew", turn=1, delivery=1, runner="r"),
        Context(actor="runner:r"),
    )
    failed = StepFailed(step="crew", attempt=1, failure=Failure("auth", "no key"))
    report = RecordProgress(execution_id=started["id"], step="crew", attempt=1, after=0, entries=(failed,))
    await stack.commands.handle(report, Context(actor="runner:r"))
    retried = await act(stack, started["id"], "retry")
    assert (retried.status_code, retried.json()["status"]) == (202, "PENDING")
    shown = (await stack.client.get(f"/v1/executions/{started['id']}")).json()
    assert (shown["status"], shown["error"], shown["steps"][0]["turn"]) == ("PENDING", None, 2)


FILE = {"name": "2026-11/e.ndjson", "sha256": "a" * 64, "size_bytes": 10}


async def test_what_was_archived_is_gone_for_queries_and_has_a_list_of_its_own(stack: Stack) -> None:
    started = await stack.execution()
    refused = await act(stack, started["id"], "archive")
    assert (refused.status_code, refused.json()["code"]) == (409, "rejected")
    ended = await act(stack, started["id"], "cancel")
    stale = await act(stack, started["id"], "archive", If_Match='"v1"')
    assert stale.status_code == 412
    body = {"place": "/srv/archive", "files": [FILE]}
    archived = await act(stack, started["id"], "archive", body, If_Match=f'"v{ended.json()["version"]}"')
    assert (archived.status_code, archived.json()["status"]) == (202, "CANCELLED")
    assert (await act(stack, started["id"], "archive", body)).json() == archived.json()
    for path in ("", "/history", "/timeline", "/state", "/state?version=1", "/diff?from=0"):
        gone = await stack.client.get(f"/v1/executions/{started['id']}{path}")
        assert (gone.status_code, gone.json()["code"]) == (410, "archived"), path
        assert "/srv/archive: 2026-11/e.ndjson" in gone.json()["detail"]
    kept = (await stack.client.get("/v1/executions")).json()["items"]
    assert started["id"] not in [item["id"] for item in kept]
    items = (await stack.client.get("/v1/executions?archived=true&status=CANCELLED")).json()["items"]
    assert [item["archive"]["files"] for item in items if item["id"] == started["id"]] == [[FILE]]
    again = await act(stack, started["id"], "retry")
    assert again.status_code == 409


async def test_the_log_still_has_what_was_archived(stack: Stack) -> None:
    started = await stack.execution()
    await act(stack, started["id"], "cancel")
    await act(stack, started["id"], "archive")
    export = await stack.client.get(f"/v1/executions/{started['id']}/history/export")
    assert export.text.splitlines()[-1].find("io.kasal.execution.archived") > 0
    stream = await stack.client.get(f"/v1/executions/{started['id']}/stream", timeout=10)
    assert "execution.archived" in stream.text


async def test_a_file_that_can_not_be_one_is_refused_by_its_field(stack: Stack) -> None:
    started = await stack.execution()
    refused = await act(stack, started["id"], "archive", {"files": [{**FILE, "sha256": "no"}]})
    assert (refused.status_code, "sha256" in refused.text) == (422, True)


async def test_the_client_tells_what_was_archived_from_what_never_was(stack: Stack) -> None:
    started = await stack.execution()
    await act(stack, started["id"], "cancel")
    await act(stack, started["id"], "archive")
    async with AsyncKasal(stack.url) as kasal:
        with pytest.raises(Archived, match="the log alone has it"):
            await kasal.execution(started["id"])
        gone = [item["id"] async for item in kasal.executions(archived=True)]
        assert started["id"] in gone
