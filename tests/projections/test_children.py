"""What read models show of parents and children, on both databases."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from domain.amounts import Amounts
from domain.definition import Definition, Step
from domain.errors import Rejected
from domain.execution import (
    ArchiveExecution,
    CancelExecution,
    Failure,
    Parent,
    PinnedChild,
    ReportChild,
    RequestExecution,
    RetryExecution,
    TaskOutput,
    child_execution_id,
)
from domain.registry import AnyCommand
from domain.steps import ChildWorkflow, Delay, Map
from projections import ALL
from projections.database import ReadDatabase
from projections.execution_detail import get_execution
from projections.execution_list import list_executions
from projections.execution_timeline import list_timeline
from projections.open_children import open_children
from tests.projections.databases import caught_up, read_db, read_url
from tests.projections.histories import History

__all__ = ["read_db", "read_url"]

OUTER = Definition(name="Outer", steps={"sub": Step(workflow=ChildWorkflow(workflow_id="inner"))})
INNER = Definition(name="Inner", steps={"rest": Step(wait=Delay(for_s=60))})
CHILD = child_execution_id("e1", "1-sub")


class Family:
    """A parent that waits for a child, which waits too."""

    def __init__(self, read_db: ReadDatabase, outer: Definition = OUTER, child: str = "1-sub") -> None:
        self._child = child
        self._read_db = read_db
        self._history = History()
        pinned = {"sub": PinnedChild(1)}
        self.tell(
            RequestExecution(
                execution_id="e1", name="outer", definition=outer, inputs={}, models={}, children=pinned
            )
        )
        parent = Parent("e1", "sub", child)
        self.tell(
            RequestExecution(
                execution_id=CHILD, name="inner", definition=INNER, inputs={}, models={}, parent=parent
            )
        )

    def tell(self, *commands: AnyCommand) -> None:
        for command in commands:
            self._history.handle(command)

    def report(self, status: Any, run: int = 0, child: str = "", **fields: Any) -> None:
        name = child or self._child
        self.tell(ReportChild(execution_id="e1", child=name, status=status, run=run, **fields))

    async def shown(self) -> dict[str, Any]:
        await caught_up(self._read_db, ALL, self._history)
        found: dict[str, Any] = msgspec.json.decode(
            (await get_execution(self._read_db, "default", "e1")).json
        )
        return found

    async def children(self, of: str = "e1") -> list[str]:
        await self.shown()
        page = await list_executions(self._read_db, "default", parent=of)
        return [item["id"] for item in msgspec.json.decode(page.items_json)]

    async def timeline(self) -> list[dict[str, Any]]:
        await self.shown()
        page = await list_timeline(self._read_db, "default", "e1")
        entries: list[dict[str, Any]] = msgspec.json.decode(page.items_json)
        return entries

    async def open(self) -> list[str]:
        await self.shown()
        return [row.execution_id for row in await open_children(self._read_db)]


@pytest.fixture
def family(read_db: ReadDatabase) -> Family:
    return Family(read_db)


async def test_a_parent_waits_for_its_child_and_each_is_found_from_the_other(family: Family) -> None:
    parent = await family.shown()
    [step], [wait] = parent["steps"], parent["waits"]
    assert (parent["status"], step["status"], step["child"]) == ("WAITING", "waiting", CHILD)
    assert (wait["kind"], wait["id"]) == ("child", CHILD)
    assert await family.children() == [CHILD]
    assert await family.children(CHILD) == []
    [bar] = await family.timeline()
    assert (bar["kind"], bar["wait_kind"], bar["status"]) == ("wait", "child", "running")


async def test_the_end_of_a_child_ends_the_wait_and_counts(family: Family) -> None:
    family.report("completed", output=TaskOutput("hello"), spent=Amounts(nano_usd=1_500_000, tokens=9))
    parent = await family.shown()
    assert (parent["status"], parent["output"], parent["waits"]) == ("COMPLETED", {"text": "hello"}, [])
    assert (parent["children_usd"], parent["children_tokens"], parent["cost_usd"]) == (0.0015, 9, 0)
    assert parent["steps"][0]["status"] == "completed"
    [bar] = await family.timeline()
    assert bar["status"] == "completed"


async def test_a_failure_is_shown_with_the_step(family: Family) -> None:
    family.report("failed", failure=Failure("boom", "it broke"))
    parent = await family.shown()
    assert parent["failure"]["code"] == "child_failed"
    assert parent["steps"][0]["error"] == parent["error"] == "the child of workflow 'inner' failed: it broke"


async def test_a_child_is_open_until_its_parent_has_heard_of_its_end(family: Family) -> None:
    assert await family.open() == [CHILD]
    family.tell(CancelExecution(execution_id=CHILD))
    assert await family.open() == [CHILD]
    family.report("cancelled")
    assert await family.open() == []


async def test_a_child_that_was_told_to_end_is_open_until_then(family: Family) -> None:
    family.tell(CancelExecution(execution_id="e1"))
    assert await family.open() == [CHILD]
    family.report("cancelled")
    assert await family.open() == []


async def test_one_that_is_retried_is_open_again_whoever_does_it(family: Family) -> None:
    family.report("failed")
    assert await family.open() == []
    family.tell(RetryExecution(execution_id="e1"))
    assert await family.open() == [CHILD]
    family.report("failed", run=1)
    assert await family.open() == []


async def test_what_has_spent_more_since_is_added_once(family: Family) -> None:
    family.report("failed", spent=Amounts(tokens=5))
    family.report("failed", run=1, spent=Amounts(tokens=7))
    family.report("failed", run=1, spent=Amounts(tokens=7))
    assert (await family.shown())["children_tokens"] == 7


async def test_the_items_of_a_map_over_a_workflow_are_counted(read_db: ReadDatabase) -> None:
    inner = ChildWorkflow(workflow_id="inner", on_failure="continue")
    mapped = Step(map=Map(over="[1, 2, 3]", workflow=inner, max_parallel=2))
    family = Family(read_db, Definition(name="Outer", steps={"sub": mapped}), "1-sub--0")
    assert (await family.shown())["steps"][0]["items"]["begun"] == 2
    family.report("failed")
    family.report("completed", child="1-sub--1", output=TaskOutput("two"))
    [step] = (parent := await family.shown())["steps"]
    counted = {name: step["items"][name] for name in ("total", "begun", "done", "failures", "left_out")}
    assert counted == {"total": 3, "begun": 3, "done": 2, "failures": 1, "left_out": 1}
    assert (parent["status"], [wait["step"] for wait in parent["waits"]]) == ("WAITING", ["sub--2"])
    family.report("completed", child="1-sub--2", output=TaskOutput("three"))
    assert (await family.shown())["output"]["structured"] == [None, "two", "three"]


async def test_a_parent_is_not_archived_before_its_children_have_ended(family: Family) -> None:
    family.tell(CancelExecution(execution_id="e1"))
    with pytest.raises(Rejected, match="its child '1-sub' is not known to have ended"):
        family.tell(ArchiveExecution(execution_id="e1"))
    family.report("cancelled")
    family.tell(ArchiveExecution(execution_id="e1"))
