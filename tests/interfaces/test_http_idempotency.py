"""Idempotency keys: a repeat is answered as the first time; another request under the same key is refused."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import httpx
import pytest

from interfaces.http.examples import BLOG
from tests.interfaces.stack import Stack

START = {"definition": BLOG, "inputs": {"industry": "solar", "tone": "dry"}}


async def posted(stack: Stack, path: str, body: object, key: str) -> httpx.Response:
    return await stack.client.post(path, json=body, headers={"Idempotency-Key": key})


@pytest.mark.parametrize(("path", "body"), [("/v1/executions", START), ("/v1/workflows", BLOG)])
async def test_a_repeat_is_answered_as_the_first_time(stack: Stack, path: str, body: dict[str, Any]) -> None:
    first = await posted(stack, path, body, f"repeat {path}".replace(" ", "-"))
    before = await stack.log.head()
    again = await posted(stack, path, body, f"repeat {path}".replace(" ", "-"))
    assert (again.status_code, again.json()) == (first.status_code, first.json())
    assert again.headers["location"] == first.headers["location"]
    assert again.headers["idempotency-replayed"] == "true"
    assert "idempotency-replayed" not in first.headers
    assert await stack.log.head() == before


async def test_a_repeat_of_a_cancel_is_answered_as_the_first_time(stack: Stack) -> None:
    path = f"/v1/executions/{(await stack.execution())['id']}/cancel"
    first = await posted(stack, path, {"reason": "enough"}, "cancel-1")
    again = await posted(stack, path, {"reason": "enough"}, "cancel-1")
    assert (again.status_code, again.json()) == (202, first.json())
    assert again.headers["idempotency-replayed"] == "true"


async def test_another_request_under_the_same_key_is_refused(stack: Stack) -> None:
    await posted(stack, "/v1/executions", START, "reused-1")
    other = await posted(stack, "/v1/executions", {**START, "name": "Other"}, "reused-1")
    assert (other.status_code, other.json()["code"]) == (422, "key_reused")


async def test_how_a_body_is_written_does_not_matter(stack: Stack) -> None:
    first = await posted(stack, "/v1/executions", START, "written-1")
    turned = json.dumps({**START, "inputs": {"tone": "dry", "industry": "solar"}}, indent=4)
    headers = {"Idempotency-Key": '"written-1"', "Content-Type": "application/json; charset=utf-8"}
    again = await stack.client.post("/v1/executions", content=turned, headers=headers)
    assert (again.status_code, again.json()["id"]) == (201, first.json()["id"])


async def test_the_order_of_tasks_in_a_document_does_matter(stack: Stack) -> None:
    tasks: dict[str, Any] = {
        "first": {"agent": "writer", "description": "a", "expected_output": "b"},
        "second": {"agent": "writer", "description": "c", "expected_output": "d"},
    }
    await posted(stack, "/v1/workflows", {**BLOG, "tasks": tasks}, "ordered-1")
    turned = {**BLOG, "tasks": dict(reversed(tasks.items()))}
    other = await posted(stack, "/v1/workflows", turned, "ordered-1")
    assert (other.status_code, other.json()["code"]) == (422, "key_reused")


async def test_the_same_key_on_another_path_is_another_key(stack: Stack) -> None:
    started = [(await stack.execution())["id"] for _ in range(2)]
    answers = [await posted(stack, f"/v1/executions/{each}/cancel", {}, "path-1") for each in started]
    assert [answer.json()["id"] for answer in answers] == started


async def test_a_hundred_repeats_at_once_start_one_execution(stack: Stack) -> None:
    before = await stack.log.head()
    answers = await asyncio.gather(*(posted(stack, "/v1/executions", START, "at-once-1") for _ in range(100)))
    assert {answer.status_code for answer in answers} == {201}
    assert len({answer.json()["id"] for answer in answers}) == 1
    assert await stack.log.head() == before + 2


async def test_a_refused_request_leaves_its_key_free(stack: Stack) -> None:
    refused = await posted(stack, "/v1/executions", {"definition": BLOG}, "free-1")
    assert refused.status_code == 422
    assert (await posted(stack, "/v1/executions", START, "free-1")).status_code == 201


@pytest.mark.parametrize("key", ["", "a b", "ü", "x" * 256, '"open', '"a"b"', '""'])
async def test_a_key_that_is_none_is_refused(stack: Stack, key: str) -> None:
    headers = {"Idempotency-Key": key.encode("latin-1")}
    answer = await stack.client.post("/v1/executions", json=START, headers=headers)  # type: ignore[arg-type]
    assert (answer.status_code, answer.json()["errors"][0]["pointer"]) == (400, "/header/Idempotency-Key")


async def test_a_revision_is_made_once_and_not_taken_for_another(stack: Stack) -> None:
    path, headers = f"/v1/workflows/{await stack.workflow()}", {"Idempotency-Key": "revised-1"}
    first, again, other = [
        await stack.client.put(path, json={**BLOG, "name": name}, headers=headers)
        for name in ("Second", "Second", "Third")
    ]
    assert (first.status_code, first.json()["version"], again.json()) == (202, 2, first.json())
    assert (other.status_code, other.json()["code"]) == (422, "key_reused")


async def test_an_entry_of_the_catalogue_is_not_taken_for_another(stack: Stack) -> None:
    path, headers = "/v1/templates/greeting", {"Idempotency-Key": "set-1"}
    entries = [{"text": "Hello"}, {"text": "Hello"}, {"text": "Goodbye"}]
    answers = [await stack.client.put(path, json=entry, headers=headers) for entry in entries]
    assert [each.status_code for each in answers] == [202, 202, 422], answers[0].text
    assert answers[2].json()["code"] == "key_reused"
