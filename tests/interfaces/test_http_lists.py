"""Lists: pages by cursor, filters, and parameters that are wrong."""

from __future__ import annotations

from typing import Any

import pytest

from interfaces.http.examples import BLOG
from tests.interfaces.stack import Stack


async def ids(stack: Stack, url: str) -> tuple[list[str], str | None]:
    answer = await stack.client.get(url)
    assert answer.status_code == 200, answer.text
    link = answer.headers.get("link")
    assert (link is None) == (answer.json()["next_cursor"] is None)
    return [item["id"] for item in answer.json()["items"]], answer.links.get("next", {}).get("url")


async def test_the_links_lead_through_the_whole_list_once(stack: Stack) -> None:
    workflow_id = await stack.workflow()
    started = [(await stack.execution(workflow_id))["id"] for _ in range(7)]
    seen: list[str] = []
    url: str | None = f"/v1/executions?workflow_id={workflow_id}&limit=3"
    pages = 0
    while url is not None:
        items, url = await ids(stack, url)
        seen += items
        pages += 1
    assert (seen, pages) == (started[::-1], 3)


async def test_a_page_goes_on_where_it_was_while_the_list_grows(stack: Stack) -> None:
    workflow_id = await stack.workflow()
    started = [(await stack.execution(workflow_id))["id"] for _ in range(4)]
    first, url = await ids(stack, f"/v1/executions?workflow_id={workflow_id}&limit=2")
    await stack.execution(workflow_id)
    rest, _ = await ids(stack, url or "")
    assert first + rest == started[::-1]


async def test_executions_are_found_by_status_and_name(stack: Stack) -> None:
    workflow_id = await stack.workflow()
    open_one = await stack.execution(workflow_id, name="Alpha run")
    ended = await stack.execution(workflow_id, name="Beta run")
    path = f"/v1/executions/{ended['id']}/cancel"
    await stack.client.post(path, headers={"Prefer": "wait=10"})
    base = f"/v1/executions?workflow_id={workflow_id}"
    assert (await ids(stack, f"{base}&status=CANCELLED"))[0] == [ended["id"]]
    assert (await ids(stack, f"{base}&status=PENDING,CANCELLED"))[0] == [ended["id"], open_one["id"]]
    assert (await ids(stack, f"{base}&name=ALPHA"))[0] == [open_one["id"]]
    assert (await ids(stack, f"{base}&created_after=2099-01-01T00:00:00Z"))[0] == []
    assert len((await ids(stack, f"{base}&created_before=2099-01-01T00:00:00%2B14:00"))[0]) == 2


async def test_workflows_are_found_by_name_and_archive(stack: Stack) -> None:
    one = await stack.workflow(name="Needle in a list")
    two = await stack.workflow(name="Another needle in a list")
    await stack.client.post(f"/v1/workflows/{one}/archive", headers={"Prefer": "wait=10"})
    assert (await ids(stack, "/v1/workflows?name=needle"))[0] == [two, one]
    assert (await ids(stack, "/v1/workflows?name=needle&is_archived=true"))[0] == [one]
    assert (await ids(stack, "/v1/workflows?name=needle&is_archived=false"))[0] == [two]


async def test_a_history_is_paged_too(stack: Stack) -> None:
    started = await stack.execution()
    path = f"/v1/executions/{started['id']}/history"
    first = (await stack.client.get(path, params={"limit": 1})).json()
    second = (await stack.client.get(path, params={"cursor": first["next_cursor"]})).json()
    assert [event["version"] for event in first["items"] + second["items"]] == [1, 2]
    after = (await stack.client.get(path, params={"after_version": 1})).json()
    assert after["items"] == second["items"]
    assert second["items"][0].keys() >= {"version", "position", "type", "at", "data"}


async def test_usage_and_timeline_answer_empty_lists(stack: Stack) -> None:
    started = await stack.execution()
    timeline = await stack.client.get(f"/v1/executions/{started['id']}/timeline")
    usage = await stack.client.get(
        "/v1/usage", params={"first_day": "2026-01-01", "workflow_id": "", "model": "demo/model"}
    )
    for answer in (timeline, usage):
        assert (answer.status_code, answer.json()) == (200, {"items": [], "next_cursor": None})


WRONG: list[tuple[str, dict[str, Any], str]] = [
    ("/v1/executions", {"limit": 0}, "limit"),
    ("/v1/executions", {"limit": 201}, "limit"),
    ("/v1/executions", {"limit": "many"}, "limit"),
    ("/v1/executions", {"limit": 10**30}, "limit"),
    ("/v1/executions", {"colour": "red"}, "colour"),
    ("/v1/executions", {"status": "DONE"}, "status"),
    ("/v1/executions", {"status": ""}, "status"),
    ("/v1/executions", {"cursor": "nonsense"}, "cursor"),
    ("/v1/executions", {"cursor": ""}, "cursor"),
    ("/v1/executions", {"created_after": "yesterday"}, "created_after"),
    ("/v1/executions", {"created_after": "2026-01-01T00:00:00"}, "created_after"),
    ("/v1/executions", {"created_after": "0001-01-01T00:00:00+14:00"}, "created_after"),
    ("/v1/executions", {"name": "a\x00b"}, "name"),
    ("/v1/executions", {"name": "x" * 201}, "name"),
    ("/v1/executions", {"after": -1}, "after"),
    ("/v1/executions", {"after": 2**63}, "after"),
    ("/v1/workflows", {"is_archived": "perhaps"}, "is_archived"),
    ("/v1/usage", {"first_day": "2026-13-01"}, "first_day"),
    ("/v1/models", {"status": "PENDING"}, "status"),
    ("/readyz", {"loud": "1"}, "loud"),
    ("/schema/openapi.json", {"x": "1"}, "x"),
]


@pytest.mark.parametrize(("path", "params", "name"), WRONG, ids=lambda value: str(value)[:40])
async def test_a_parameter_that_is_wrong_is_named(
    stack: Stack, path: str, params: dict[str, Any], name: str
) -> None:
    answer = await stack.client.get(path, params=params)
    assert answer.status_code == 400, answer.text
    assert [error["pointer"] for error in answer.json()["errors"]] == [f"/query/{name}"]


async def test_a_cursor_of_another_list_is_refused(stack: Stack) -> None:
    workflow_id = await stack.workflow()
    for _ in range(2):
        await stack.execution(workflow_id)
    answer = await stack.client.get("/v1/executions", params={"workflow_id": workflow_id, "limit": 1})
    cursor = answer.json()["next_cursor"]
    for url in ("/v1/executions", "/v1/workflows", "/v1/models"):
        refused = await stack.client.get(url, params={"cursor": cursor})
        assert (refused.status_code, refused.json()["code"]) == (400, "malformed")


async def test_what_came_twice_or_is_not_utf8_is_refused(stack: Stack) -> None:
    for query in ("limit=1&limit=2", "name=%ff", "name=%ed%a0%80", "&".join(["limit=1"] * 60)):
        answer = await stack.client.get(f"/v1/executions?{query}")
        assert (answer.status_code, answer.json()["code"]) == (400, "malformed"), query


async def test_the_name_of_a_workflow_in_any_script_is_found(stack: Stack) -> None:
    workflow_id = await stack.workflow(name="Überprüfung 100% _sicher_")
    for part in ("ÜBERPRÜFUNG", "100%", "_SICHER"):
        found = await stack.client.get("/v1/workflows", params={"name": part})
        assert [item["id"] for item in found.json()["items"]] == [workflow_id]
    assert BLOG["name"] == "Blog production"
