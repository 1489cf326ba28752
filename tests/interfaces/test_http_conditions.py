"""Conditional requests: ETag, If-Match, If-None-Match; and positions: Prefer, after, Kasal-Position."""

from __future__ import annotations

from typing import Any

import pytest

from interfaces.http.examples import BLOG
from tests.interfaces.stack import Stack

SECOND: dict[str, Any] = {**BLOG, "description": "Second"}


@pytest.mark.parametrize(
    ("condition", "status"),
    [('"v1"', 202), ('"v3", "v1"', 202), ("*", 202), ('"v2"', 412), ('W/"v1"', 412), ('"other"', 412)],
)
async def test_if_match_lets_only_the_named_version_be_revised(
    stack: Stack, condition: str, status: int
) -> None:
    path = f"/v1/workflows/{await stack.workflow()}"
    answer = await stack.client.put(path, json=SECOND, headers={"If-Match": condition})
    assert answer.status_code == status, answer.text
    if status == 412:
        assert answer.headers["etag"] == '"v1"'
        assert (answer.json()["code"], answer.json()["actual_version"]) == ("precondition_failed", 1)


@pytest.mark.parametrize("condition", ["v1", "7", '"v1', '"v1" "v2"', "", ",".join(['"v1"'] * 17)])
async def test_a_condition_that_can_not_be_read_is_refused(stack: Stack, condition: str) -> None:
    path = f"/v1/workflows/{await stack.workflow()}"
    answer = await stack.client.put(path, json=SECOND, headers={"If-Match": condition})
    assert (answer.status_code, answer.json()["errors"][0]["pointer"]) == (400, "/header/If-Match")


async def test_if_match_of_a_workflow_that_is_not_there_fails(stack: Stack) -> None:
    for condition in ("*", '"v1"'):
        answer = await stack.client.put("/v1/workflows/none", json=BLOG, headers={"If-Match": condition})
        assert (answer.status_code, answer.json()["code"]) == (412, "precondition_failed")


async def test_if_match_holds_for_archive_and_cancel(stack: Stack) -> None:
    workflow_id = await stack.workflow()
    started = await stack.execution(workflow_id)
    for path in (f"/v1/workflows/{workflow_id}/archive", f"/v1/executions/{started['id']}/cancel"):
        answer = await stack.client.post(path, headers={"If-Match": '"v9"'})
        assert answer.status_code == 412
    cancelled = await stack.client.post(path, headers={"If-Match": f'"v{started["version"]}"'})
    assert cancelled.status_code == 202


async def test_a_client_that_has_the_version_gets_no_body(stack: Stack) -> None:
    path = f"/v1/workflows/{await stack.workflow()}"
    found = await stack.client.get(path)
    assert found.headers["etag"] == '"v1"'
    for condition in ('"v1"', 'W/"v1"', '"v0", "v1"', "*"):
        same = await stack.client.get(path, headers={"If-None-Match": condition})
        assert (same.status_code, same.content, same.headers["etag"]) == (304, b"", '"v1"')
    other = await stack.client.get(path, headers={"If-None-Match": '"v2"'})
    assert other.status_code == 200


async def test_the_etag_of_an_answer_is_the_one_that_a_revision_takes(stack: Stack) -> None:
    created = await stack.client.post("/v1/workflows", json=BLOG)
    path, tag = created.headers["location"], created.headers["etag"]
    revised = await stack.client.put(path, json=SECOND, headers={"If-Match": tag})
    assert (revised.status_code, revised.headers["etag"]) == (202, '"v2"')


async def test_a_revision_that_changes_nothing_makes_no_version(stack: Stack) -> None:
    path = f"/v1/workflows/{await stack.workflow()}"
    before = await stack.log.head()
    answer = await stack.client.put(path, json=BLOG)
    assert (answer.status_code, answer.json()["version"], await stack.log.head()) == (202, 1, before)


async def test_a_query_waits_for_the_position_that_it_is_asked_for(stack: Stack) -> None:
    for _ in range(20):
        created = await stack.client.post("/v1/workflows", json=BLOG)
        position = created.json()["position"]
        found = await stack.client.get(created.headers["location"], headers={"Kasal-After": str(position)})
        assert found.status_code == 200
        assert int(found.headers["kasal-position"]) >= position


async def test_a_position_that_the_log_does_not_have_is_gone(stack: Stack) -> None:
    answer = await stack.client.get("/v1/workflows", params={"after": 10**12})
    assert (answer.status_code, answer.json()["code"]) == (410, "position_gone")


async def test_without_a_projector_a_position_that_does_not_come_is_unavailable(
    own_stack: Stack, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("interfaces.http.queries.MAX_WAIT_S", 0.1)
    await own_stack.workflow()
    await own_stack.stop("projector")
    created = await own_stack.client.post("/v1/workflows", json=BLOG)
    answer = await own_stack.client.get("/v1/workflows", params={"after": created.json()["position"]})
    assert (answer.status_code, answer.json()["code"]) == (503, "not_caught_up")
    assert answer.headers["retry-after"] == "1"


async def test_without_a_projector_prefer_waits_no_longer_than_it_says(own_stack: Stack) -> None:
    await own_stack.stop("projector")
    answer = await own_stack.client.post("/v1/workflows", json=BLOG, headers={"Prefer": "wait=0"})
    assert (answer.status_code, "preference-applied" in answer.headers) == (201, False)


@pytest.mark.parametrize("prefer", ["respond-async, wait=10", "wait = 10", "wait=10; foo", "WAIT=10"])
async def test_the_preference_to_wait_is_read_as_its_standard_says(stack: Stack, prefer: str) -> None:
    answer = await stack.client.post("/v1/workflows", json=BLOG, headers={"Prefer": prefer})
    assert answer.headers["preference-applied"] == "wait=10"


@pytest.mark.parametrize("prefer", ["", "wait", "wait=x", "wait=-1", "return=minimal"])
async def test_a_preference_that_is_not_understood_is_ignored(stack: Stack, prefer: str) -> None:
    answer = await stack.client.post("/v1/workflows", json=BLOG, headers={"Prefer": prefer})
    assert (answer.status_code, "preference-applied" in answer.headers) == (201, False)
