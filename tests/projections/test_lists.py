"""Lists, on both databases: filters, pages that follow one another exactly, cursors that can not be bent."""

from __future__ import annotations

import base64
from collections.abc import Awaitable, Callable
from datetime import timedelta
from typing import Any

import msgspec
import pytest

from domain.errors import Invalid, NotFound
from domain.execution import Status
from projections import ALL
from projections.catalog import list_entries
from projections.database import ReadDatabase
from projections.execution_history import list_history
from projections.execution_list import list_executions
from projections.execution_timeline import list_timeline
from projections.paging import Page
from projections.usage import list_usage
from projections.workflow_detail import list_versions
from projections.workflow_list import list_workflows
from tests.projections.databases import caught_up, read_db, read_url
from tests.projections.histories import START, TICK, History, definition, history_of, request

__all__ = ["read_db", "read_url"]

TENANTS = ("default", "acme")


@pytest.fixture
def history() -> History:
    return history_of(7, executions=30, tenants=TENANTS)


@pytest.fixture
async def filled(read_db: ReadDatabase, history: History) -> ReadDatabase:
    await caught_up(read_db, ALL, history)
    return read_db


def items(page: Page) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = msgspec.json.decode(page.items_json)
    return found


async def walked(list_page: Callable[[str | None], Awaitable[Page]]) -> list[dict[str, Any]]:
    """Every item of every page."""
    page = await list_page(None)
    found = items(page)
    while page.next_cursor is not None:
        page = await list_page(page.next_cursor)
        found += items(page)
    return found


LISTS: dict[str, Callable[[ReadDatabase, int, str | None], Awaitable[Page]]] = {
    "executions": lambda db, n, c: list_executions(db, "default", limit=n, cursor=c),
    "workflows": lambda db, n, c: list_workflows(db, "default", limit=n, cursor=c),
    "versions": lambda db, n, c: list_versions(db, "default", "blog", limit=n, cursor=c),
    "history": lambda db, n, c: list_history(db, "default", one_of_default, limit=n, cursor=c),
    "timeline": lambda db, n, c: list_timeline(db, "default", one_of_default, limit=n, cursor=c),
    "usage": lambda db, n, c: list_usage(db, "default", limit=n, cursor=c),
    "models": lambda db, n, c: list_entries(db, "default", "models", limit=n, cursor=c),
}
one_of_default = "e00003"


@pytest.mark.parametrize("name", LISTS)
@pytest.mark.parametrize("limit", [1, 2, 7])
async def test_pages_of_any_size_are_the_list_in_one_piece(
    filled: ReadDatabase, name: str, limit: int
) -> None:
    whole = items(await LISTS[name](filled, 200, None))
    assert len(whole) > 1
    assert await walked(lambda cursor: LISTS[name](filled, limit, cursor)) == whole


async def test_executions_come_newest_first_and_none_of_another_tenant(
    filled: ReadDatabase, history: History
) -> None:
    found = [items(await list_executions(filled, tenant, limit=200)) for tenant in TENANTS]
    assert {item["tenant"] for item in found[1]} == {"acme"}
    assert sum(map(len, found)) == sum(
        each.version == 1 for each in history.events if each.category == "execution"
    )
    assert found[0] == sorted(found[0], key=lambda item: (item["created_at"], item["id"]), reverse=True)
    assert items(await list_executions(filled, "nobody")) == []


async def test_a_list_that_grows_shows_nothing_twice(read_db: ReadDatabase, history: History) -> None:
    builds = await caught_up(read_db, ALL, history)
    before = items(await list_executions(read_db, "default", limit=200))
    page = await list_executions(read_db, "default", limit=3)
    history.handle(request("newer", definition()))
    await caught_up(read_db, ALL, history)
    rest = await walked(
        lambda cursor: list_executions(read_db, "default", limit=3, cursor=cursor or page.next_cursor)
    )
    assert builds
    assert items(page) + rest == before


async def test_each_filter_leaves_what_it_names(filled: ReadDatabase) -> None:
    everything = items(await list_executions(filled, "default", limit=200))

    async def kept(**filters: Any) -> list[str]:
        return [item["id"] for item in items(await list_executions(filled, "default", limit=200, **filters))]

    def those(claim: Callable[[dict[str, Any]], bool]) -> list[str]:
        return [item["id"] for item in everything if claim(item)]

    assert await kept(status=[Status.FAILED, Status.CANCELLED]) == those(
        lambda item: item["status"] in ("FAILED", "CANCELLED")
    )
    assert await kept(workflow_id="blog") == those(lambda item: item["workflow_id"] == "blog")
    assert await kept(name="PRODUCTION № E0000") == those(lambda item: "№ e0000" in item["name"])
    assert await kept(name="%") == await kept(name="_") == []
    middle = START + TICK * 300
    cut = (middle - timedelta(0)).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
    assert await kept(created_after=middle) == those(lambda item: item["created_at"] > cut)
    assert await kept(created_before=middle) == those(lambda item: item["created_at"] < cut)


async def test_names_are_found_in_any_script_and_case(read_db: ReadDatabase) -> None:
    history = History()
    for number, name in enumerate(("Größe messen", "ÉTÉ 100 %", "лето_1", "C:\\temp")):
        history.handle(msgspec.structs.replace(request(f"e{number}", definition()), name=name))
    await caught_up(read_db, ALL, history)
    for part, expected in (
        ("GRÖSSE", "e0"),
        ("été", "e1"),
        ("0 %", "e1"),
        ("ЛЕТО_", "e2"),
        ("c:\\T", "e3"),
    ):
        found = items(await list_executions(read_db, "default", name=part))
        assert [item["id"] for item in found] == [expected], part


async def test_workflows_are_listed_with_or_without_the_archived(filled: ReadDatabase) -> None:
    assert [i["id"] for i in items(await list_workflows(filled, "default"))] == ["seed", "old", "blog"]
    archived = items(await list_workflows(filled, "default", is_archived=True))
    assert [item["id"] for item in archived] == ["old"]


async def test_usage_is_the_sum_of_what_the_models_were_paid(filled: ReadDatabase, history: History) -> None:
    usage = items(await list_usage(filled, "default", limit=200))
    executions = items(await list_executions(filled, "default", limit=200))
    for field in ("prompt_tokens", "completion_tokens"):
        assert sum(row[field] for row in usage) == sum(item[field] for item in executions)
    assert sum(row["cost_usd"] for row in usage) == pytest.approx(sum(i["cost_usd"] for i in executions))
    assert {row["day"] for row in usage} == {"2026-11-24", "2026-11-25"}
    one_day = items(await list_usage(filled, "default", first_day=START.date(), last_day=START.date()))
    assert {row["day"] for row in one_day} == {"2026-11-24"}
    inline = items(await list_usage(filled, "default", workflow_id=""))
    assert {row["workflow_id"] for row in inline} == {""}


def cursor_of(value: object) -> str:
    return base64.urlsafe_b64encode(msgspec.json.encode(value)).decode()


BENT = ["", "x", "ä", "####", "A" * 9_999, cursor_of(None), cursor_of([1]), cursor_of({"key": 1})]


@pytest.mark.parametrize("cursor", BENT)
async def test_a_bad_cursor_is_refused_by_its_name(filled: ReadDatabase, cursor: str) -> None:
    with pytest.raises(Invalid) as refused:
        await list_executions(filled, "default", cursor=cursor)
    assert [fault.pointer for fault in refused.value.faults] == ["cursor"]


@pytest.mark.parametrize(
    "key", [["2026"], [1, "e00001"], ["2026", 2], ["2026", "a\0"], ["2026", None], ["2026", 2**70]]
)
async def test_a_cursor_with_another_key_is_refused(filled: ReadDatabase, key: list[Any]) -> None:
    page = await list_executions(filled, "default", limit=1)
    packed = msgspec.json.decode(base64.urlsafe_b64decode(str(page.next_cursor) + "=="))
    with pytest.raises(Invalid, match="cursor"):
        await list_executions(filled, "default", cursor=cursor_of([key, *packed[1:]]))


async def test_a_cursor_of_another_list_or_tenant_is_refused(filled: ReadDatabase) -> None:
    cursor = (await list_executions(filled, "default", limit=1)).next_cursor
    for foreign in (
        list_executions(filled, "acme", cursor=cursor),
        list_executions(filled, "default", cursor=cursor, workflow_id="blog"),
        list_workflows(filled, "default", cursor=cursor),
    ):
        with pytest.raises(Invalid, match="another list"):
            await foreign


@pytest.mark.parametrize("limit", [0, -1, 201])
async def test_a_limit_out_of_range_is_refused(filled: ReadDatabase, limit: int) -> None:
    with pytest.raises(Invalid) as refused:
        await list_executions(filled, "default", limit=limit)
    assert [fault.pointer for fault in refused.value.faults] == ["limit"]


@pytest.mark.parametrize("text", ["a\0b", "\ud800"])
async def test_text_that_no_database_holds_finds_nothing_or_is_refused(
    filled: ReadDatabase, text: str
) -> None:
    with pytest.raises(Invalid):
        await list_executions(filled, "default", workflow_id=text)
    with pytest.raises(Invalid):
        await list_executions(filled, "default", name=text)
    with pytest.raises((NotFound, Invalid)):
        await list_history(filled, "default", text)
    with pytest.raises((NotFound, Invalid)):
        await list_timeline(filled, "default", text)


async def test_history_goes_on_behind_a_version(filled: ReadDatabase) -> None:
    whole = items(await list_history(filled, "default", one_of_default, limit=200))
    rest = items(await list_history(filled, "default", one_of_default, after_version=3))
    assert [entry["version"] for entry in whole] == list(range(1, len(whole) + 1))
    assert rest == whole[3:]
    assert items(await list_history(filled, "default", one_of_default, after_version=10**30)) == []


async def test_what_is_not_there_is_not_found(filled: ReadDatabase) -> None:
    for missing in (
        list_history(filled, "default", "none"),
        list_history(filled, "nobody", one_of_default),
        list_timeline(filled, "default", "none"),
        list_versions(filled, "default", "none"),
    ):
        with pytest.raises(NotFound):
            await missing
