"""Looking back: states at versions and times, what changed, and two executions side by side."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import msgspec
import pytest

from domain.errors import Invalid, NotFound
from domain.execution import (
    EXECUTION,
    CallReused,
    CancelExecution,
    Edit,
    ForkedFrom,
    ModelCallCompleted,
    ModelCallStarted,
    Origin,
    RecordProgress,
    StartStep,
    StepCompleted,
    TaskCompleted,
    TaskOutput,
    TaskStarted,
)
from domain.message import tag_of
from domain.registry import event_of
from projections import ALL
from projections.database import ReadDatabase
from projections.differences import Change, differences
from projections.execution_comparison import diff_executions
from projections.execution_history import list_history
from projections.execution_states import diff_versions, get_state
from tests.projections.databases import caught_up, read_db, read_url
from tests.projections.histories import START, TICK, History, definition, history_of, request
from tests.projections.runners import content

__all__ = ["read_db", "read_url"]


def run_research(history: History, execution_id: str, *answers: str, cost_usd: float = 0.5) -> None:
    """One step of one task, with a model call for each answer."""
    history.handle(request(execution_id, definition(steps=True)))
    history.handle(StartStep(execution_id=execution_id, step="first", turn=1, delivery=1, runner="r1"))
    entries: list[Any] = [TaskStarted(step="first", attempt=1, task="research", agent="researcher")]
    for number, answer in enumerate(answers, 1):
        call = {"step": "first", "attempt": 1, "call": f"c{number}", "task": "research"}
        entries.append(ModelCallStarted(**call, model="a/b", request=content(f"Question {number}")))  # type: ignore[arg-type]
        entries.append(
            ModelCallCompleted(
                **call,  # type: ignore[arg-type]
                model="a/b",
                response=content(answer),
                prompt_tokens=10,
                completion_tokens=2,
                cost_usd=cost_usd,
                duration_ms=5,
            )
        )
    output = TaskOutput(answers[-1])
    entries.append(TaskCompleted(step="first", attempt=1, task="research", output=output, duration_ms=9))
    entries.append(StepCompleted(step="first", attempt=1))
    history.handle(
        RecordProgress(execution_id=execution_id, step="first", attempt=1, after=0, entries=tuple(entries))
    )


async def test_every_version_of_a_history_can_be_seen_as_it_was(read_db: ReadDatabase) -> None:
    history = history_of(3, executions=2)
    await caught_up(read_db, ALL, history)
    events = [recorded for recorded in history.events if recorded.stream == "execution-e00002"]
    state = EXECUTION.initial
    for recorded in events:
        state = EXECUTION.evolve(state, event_of(recorded))  # type: ignore[arg-type]
        found = await get_state(read_db, "default", "e00002", version=recorded.version)
        answer = msgspec.json.decode(found.json)
        assert answer["state"] == msgspec.json.decode(msgspec.json.encode(state))
        assert (answer["version"], answer["position"]) == (recorded.version, recorded.position)
    newest = await get_state(read_db, "default", "e00002")
    assert newest.version == len(events)


async def test_a_state_at_a_time_is_that_of_the_last_event_by_then(read_db: ReadDatabase) -> None:
    history = History()
    history.handle(request("e1", definition()))
    history.handle(CancelExecution(execution_id="e1"))
    await caught_up(read_db, ALL, history)
    third = START + TICK * 3
    assert (await get_state(read_db, "default", "e1", at=third)).version == 3
    before = await get_state(read_db, "default", "e1", at=third - timedelta(microseconds=1))
    assert (before.version, msgspec.json.decode(before.json)["state"]["status"]) == (2, "PENDING")
    with pytest.raises(NotFound, match="there was no execution"):
        await get_state(read_db, "default", "e1", at=START)


async def test_what_an_execution_never_was_is_not_found(read_db: ReadDatabase) -> None:
    history = History()
    history.handle(request("e1", definition()))
    await caught_up(read_db, ALL, history)
    for tenant, execution_id, version in (("default", "e1", 3), ("default", "e2", None), ("other", "e1", 1)):
        with pytest.raises(NotFound):
            await get_state(read_db, tenant, execution_id, version=version)
    with pytest.raises(Invalid):
        await get_state(read_db, "default", "e1", version=1, at=START)


async def test_a_diff_tells_what_changed_what_happened_and_what_it_cost(read_db: ReadDatabase) -> None:
    history = History()
    run_research(history, "e1", "Perhaps", "Yes")
    await caught_up(read_db, ALL, history)
    found = await diff_versions(read_db, "default", "e1", 2, None)
    assert (found.from_version.status, found.to_version.status) == ("PENDING", "RUNNING")
    changes = {change.path: (change.op, change.before, change.after) for change in found.changes}
    assert changes["/status"] == ("replace", "PENDING", "RUNNING")
    assert changes["/outputs/research"][::2] == ("add", {"text": "Yes"})
    assert changes["/steps/first/status"] == ("replace", "scheduled", "completed")
    assert found.events["execution.model_call_completed"] == 2
    assert (found.spent.model_calls, found.spent.prompt_tokens, found.spent.cost_usd) == (2, 20, 1.0)
    nothing = await diff_versions(read_db, "default", "e1", 4, 4)
    assert (nothing.changes, nothing.events) == ((), {})
    with pytest.raises(Invalid):
        await diff_versions(read_db, "default", "e1", 3, 2)
    with pytest.raises(NotFound):
        await diff_versions(read_db, "default", "e1", 99, None)


async def test_two_executions_are_compared_call_by_call(read_db: ReadDatabase) -> None:
    history = History()
    run_research(history, "e1", "Perhaps", "Yes", "Done")
    run_research(history, "e2", "Perhaps", "No", cost_usd=0.1)
    await caught_up(read_db, ALL, history)
    found = await diff_executions(read_db, "default", "e1", "e2", limit=10)
    assert (found.equal_calls, found.differing_calls) == (1, 2)
    assert [(each.number, each.change) for each in found.calls] == [(2, "changed"), (3, "removed")]
    first = found.first_divergence
    assert first is not None
    assert first == found.calls[0]
    assert first.left is not None
    assert first.right is not None
    assert (first.task, first.left.answer, first.right.answer) == ("research", "Yes", "No")
    assert (found.left.spent.cost_usd, found.right.spent.cost_usd) == (1.5, 0.2)
    assert [change.path for change in found.request] == ["/name"]
    same = await diff_executions(read_db, "default", "e1", "e1", limit=10)
    assert (same.first_divergence, same.differing_calls, same.equal_calls) == (None, 0, 3)
    with pytest.raises(NotFound):
        await diff_executions(read_db, "default", "e1", "e3", limit=10)


async def test_a_fork_has_the_calls_that_it_took_from_its_past(read_db: ReadDatabase) -> None:
    history = History()
    run_research(history, "p", "Perhaps", "Yes")
    answered = {event_of(r).call: r.version for r in history.events if r.tag == tag_of(ModelCallCompleted)}  # type: ignore[attr-defined]
    parent = request("f", definition(steps=True))
    edit = Edit(Origin("p", answered["c2"], "c2"), "No")
    fork = ForkedFrom("p", 8, edits=(edit,))
    history.handle(msgspec.structs.replace(parent, forked_from=fork))
    history.handle(StartStep(execution_id="f", step="first", turn=1, delivery=1, runner="r1"))
    at = {"step": "first", "attempt": 1, "task": "research", "model": "a/b"}
    entries = (
        TaskStarted(step="first", attempt=1, task="research", agent="researcher"),
        CallReused(**at, call="c1", origin=Origin("p", answered["c1"], "c1"), cost_usd=0.5),  # type: ignore[arg-type]
        CallReused(**at, call="c2", origin=edit.origin, is_edited=True),  # type: ignore[arg-type]
    )
    history.handle(RecordProgress(execution_id="f", step="first", attempt=1, after=0, entries=entries))
    await caught_up(read_db, ALL, history)
    found = await diff_executions(read_db, "default", "p", "f", limit=10)
    assert (found.equal_calls, found.differing_calls) == (1, 1)
    first = found.first_divergence
    assert first is not None
    assert first.right is not None
    assert (first.number, first.right.answer, first.right.reused_from) == (2, "No", edit.origin)
    assert (found.right.spent.cost_usd, found.right.spent.reused_calls, found.right.spent.saved_usd) == (
        0,
        2,
        0.5,
    )


async def test_a_history_is_narrowed_by_type_and_content(read_db: ReadDatabase) -> None:
    history = History()
    run_research(history, "e1", 'He said "perhaps"', "Ja, schön 100%")
    await caught_up(read_db, ALL, history)

    async def versions(**filters: Any) -> list[int]:
        page = await list_history(read_db, "default", "e1", **filters)
        return [item["version"] for item in msgspec.json.decode(page.items_json)]

    answers = await versions(type=["execution.model_call_completed"])
    assert len(answers) == 2
    assert await versions(contains='said "perhaps"') == answers[:1]
    assert await versions(contains="schön 100%", type=["execution.model_call_completed"]) == answers[1:]
    assert await versions(contains="PERHAPS") == []
    assert await versions(contains="_%") == []


def test_differences_point_to_what_changed() -> None:
    before = {"a/b": [1, {"c": None}], "gone": 1, "same": "x", "kind": 1}
    after = {"a/b": [1, {"c": True}, 3], "same": "x", "kind": 1.0, "new": {}}
    assert list(differences(before, after)) == [
        Change(op="replace", path="/a~1b/1/c", before=None, after=True),
        Change(op="add", path="/a~1b/2", after=3),
        Change(op="remove", path="/gone", before=1),
        Change(op="replace", path="/kind", before=1, after=1.0),
        Change(op="add", path="/new", after={}),
    ]
