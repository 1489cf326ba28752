"""What one execution, one workflow and one entry look like to a client, from the first event to the last."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import msgspec
import pytest

from domain.catalog import Model, Template
from domain.definition import Crew, Route, Router, Step
from domain.errors import NotFound
from domain.execution import (
    CancelExecution,
    Failure,
    ModelCallCompleted,
    ModelCallStarted,
    Progress,
    RecordProgress,
    RescheduleStep,
    StartStep,
    StepCompleted,
    StepFailed,
    TaskCompleted,
    TaskOutput,
    TaskStarted,
)
from projections import ALL
from projections.catalog import get_entry
from projections.database import ReadDatabase
from projections.execution_detail import get_execution
from projections.execution_history import list_history
from projections.execution_timeline import list_timeline
from projections.open_steps import open_steps
from projections.workflow_detail import get_version, get_workflow
from tests.projections.databases import caught_up, read_db, read_url
from tests.projections.histories import START, TICK, History, definition, history_of, request
from tests.projections.runners import content

__all__ = ["read_db", "read_url"]


class Story:
    """One execution of three steps, told in a few words; `read` projects it as far as it has come."""

    def __init__(self, read_db: ReadDatabase) -> None:
        self.read_db = read_db
        self.history = History()
        self.history.handle(request("e1", definition(steps=True)))
        self._recorded: dict[tuple[str, int], int] = {}

    def start(self, step: str, *, turn: int = 1, delivery: int = 1, runner: str = "r1") -> None:
        self.history.handle(
            StartStep(execution_id="e1", step=step, turn=turn, delivery=delivery, runner=runner)
        )

    def report(self, *entries: Progress) -> None:
        key = (entries[0].step, entries[0].attempt)
        after = self._recorded.get(key, 0)
        self._recorded[key] = after + len(entries)
        self.history.handle(
            RecordProgress(execution_id="e1", step=key[0], attempt=key[1], after=after, entries=entries)
        )

    def complete(self, step: str, task: str) -> None:
        where = {"step": step, "attempt": 1, "task": task}
        self.report(
            TaskStarted(**where, agent="writer"),  # type: ignore[arg-type]
            TaskCompleted(**where, output=TaskOutput(f"done {task}"), duration_ms=5),  # type: ignore[arg-type]
            StepCompleted(step=step, attempt=1),
        )

    async def read(self) -> dict[str, Any]:
        await caught_up(self.read_db, ALL, self.history)
        document = await get_execution(self.read_db, "default", "e1")
        answer: dict[str, Any] = msgspec.json.decode(document.json)
        assert document.version == answer["version"] == len(self.history.events)
        return answer

    async def timeline(self) -> list[dict[str, Any]]:
        await self.read()
        page = await list_timeline(self.read_db, "default", "e1")
        entries: list[dict[str, Any]] = msgspec.json.decode(page.items_json)
        return entries


@pytest.fixture
def story(read_db: ReadDatabase) -> Story:
    return Story(read_db)


def model_call(call: str) -> tuple[ModelCallStarted, ModelCallCompleted]:
    started = ModelCallStarted(
        step="first",
        attempt=1,
        call=call,
        model="openai/gpt-4o-mini",
        request=content("Please"),
        task="research",
    )
    completed = ModelCallCompleted(
        step="first",
        attempt=1,
        call=call,
        model="openai/gpt-4o-mini-2026",
        response=content("Yes"),
        prompt_tokens=100,
        completion_tokens=20,
        cost_usd=0.003,
        duration_ms=640,
    )
    return started, completed


async def test_an_execution_is_pending_then_running_then_completed(story: Story) -> None:
    pending = await story.read()
    assert (pending["status"], pending["started_at"]) == ("PENDING", None)
    assert [step["status"] for step in pending["steps"]] == ["scheduled", "pending", "pending"]
    story.start("first")
    assert (await story.read())["status"] == "RUNNING"
    story.complete("first", "research")
    for step, task in (("second", "write"), ("third", "edit")):
        story.start(step)
        story.complete(step, task)
    done = await story.read()
    assert done["status"] == "COMPLETED"
    assert done["output"] == {"text": "done edit"}
    assert [step["status"] for step in done["steps"]] == ["completed"] * 3
    assert done["duration_ms"] == round((len(story.history.events) - 3) * TICK.total_seconds() * 1000)


async def test_a_detail_tells_what_was_asked_for(story: Story) -> None:
    detail = await story.read()
    assert detail["inputs"] == {"industry": "shipping"}
    assert detail["agents"] == ["researcher", "writer", "editor"]
    assert detail["definition"]["steps"]["second"]["after"] == ["first"]
    assert detail["workflow_name"] == "Blog production"


async def test_calls_tokens_and_cost_are_counted(story: Story) -> None:
    story.start("first")
    story.report(*model_call("c1"))
    story.report(*model_call("c2"))
    detail = await story.read()
    assert (detail["model_calls"], detail["prompt_tokens"], detail["completion_tokens"]) == (2, 200, 40)
    assert detail["cost_usd"] == pytest.approx(0.006)


async def test_a_failure_names_its_step_and_skips_the_rest(story: Story) -> None:
    story.start("first")
    story.report(StepFailed(step="first", attempt=1, failure=Failure("model_error", "no answer", "research")))
    failed = await story.read()
    assert (failed["status"], failed["error"]) == ("FAILED", "no answer")
    assert failed["failure"] == {"code": "model_error", "message": "no answer", "task": "research"}
    assert [step["status"] for step in failed["steps"]] == ["failed", "skipped", "skipped"]


async def test_a_route_shows_where_it_led_and_what_was_skipped(story: Story) -> None:
    steps = {
        "route": Step(router=Router((Route("inputs.industry == 'shipping'", "b"),), otherwise="a")),
        "a": Step(crew=Crew(("research",))),
        "b": Step(crew=Crew(("write", "edit"))),
    }
    story.history = History()
    story.history.handle(request("e1", msgspec.structs.replace(definition(), steps=steps)))
    detail = await story.read()
    assert [(step["status"], step["route"]) for step in detail["steps"]] == [
        ("completed", "b"),
        ("skipped", None),
        ("scheduled", None),
    ]
    [entry] = await story.timeline()
    assert (entry["kind"], entry["route"], entry["status"]) == ("router", "b", "completed")


async def test_cancelling_ends_what_was_under_way(story: Story) -> None:
    story.start("first")
    started, _ = model_call("c1")
    story.report(TaskStarted(step="first", attempt=1, task="research", agent="writer"), started)
    story.history.handle(CancelExecution(execution_id="e1", reason="too dear"))
    cancelled = await story.read()
    assert (cancelled["status"], cancelled["reason"]) == ("CANCELLED", "too dear")
    assert [step["status"] for step in cancelled["steps"]] == ["cancelled", "skipped", "skipped"]
    timeline = await story.timeline()
    assert [entry["kind"] for entry in timeline] == ["step", "task", "model_call"]
    assert {entry["status"] for entry in timeline} == {"interrupted"}
    assert all(entry["ended_at"] for entry in timeline)


async def test_the_timeline_has_durations_tokens_and_cost_of_each_call(story: Story) -> None:
    story.start("first")
    story.report(*model_call("c1"))
    step, call = await story.timeline()
    assert (step["status"], step["runner"]) == ("running", "r1")
    assert (call["status"], call["duration_ms"], call["cost_usd"]) == ("completed", 640, 0.003)
    assert (call["prompt_tokens"], call["completion_tokens"]) == (100, 20)
    assert (call["task"], call["model"]) == ("research", "openai/gpt-4o-mini-2026")


async def test_a_lost_attempt_is_interrupted_when_the_next_begins(story: Story) -> None:
    story.start("first")
    story.report(TaskStarted(step="first", attempt=1, task="research", agent="writer"))
    story.start("first", delivery=2, runner="r2")
    timeline = await story.timeline()
    assert [(e["kind"], e["attempt"], e["status"]) for e in timeline] == [
        ("step", 1, "interrupted"),
        ("task", 1, "interrupted"),
        ("step", 2, "running"),
    ]


async def test_open_steps_are_those_that_a_runner_still_owes(story: Story) -> None:
    await story.read()
    [step] = await open_steps(story.read_db)
    assert (step.execution_id, step.step, step.turn, step.status) == ("e1", "first", 1, "scheduled")
    story.start("first")
    await story.read()
    [step] = await open_steps(story.read_db)
    assert (step.status, step.attempt, step.runner, step.queue) == ("running", 1, "r1", "default")
    story.history.handle(RescheduleStep(execution_id="e1", step="first", turn=1, reason="lost"))
    await story.read()
    [step] = await open_steps(story.read_db)
    assert (step.status, step.turn) == ("scheduled", 2)
    moment = START + TICK * len(story.history.events)
    assert await open_steps(story.read_db, since_before=moment) == []
    assert len(await open_steps(story.read_db, since_before=moment + timedelta(microseconds=1))) == 1
    story.history.handle(CancelExecution(execution_id="e1"))
    await story.read()
    assert await open_steps(story.read_db) == []


async def test_history_holds_every_event_as_it_was_recorded(story: Story) -> None:
    story.start("first")
    await story.read()
    page = await list_history(story.read_db, "default", "e1")
    entries = msgspec.json.decode(page.items_json)
    assert [entry["type"] for entry in entries] == [recorded.tag for recorded in story.history.events]
    assert [entry["data"] for entry in entries] == [
        msgspec.json.decode(recorded.body) for recorded in story.history.events
    ]
    assert entries[0]["actor"] == "user:ada"


async def test_text_with_nul_is_stored_and_answered_on_both_databases(story: Story) -> None:
    story.start("first")
    output = TaskOutput("a\0b")
    story.report(TaskCompleted(step="first", attempt=1, task="research", output=output, duration_ms=1))
    await story.read()
    page = await list_history(story.read_db, "default", "e1")
    assert msgspec.json.decode(page.items_json)[-1]["data"]["output"]["text"] == "a\0b"


async def test_a_workflow_has_its_newest_document_and_all_before(read_db: ReadDatabase) -> None:
    await caught_up(read_db, ALL, history_of(1))
    blog = msgspec.json.decode((await get_workflow(read_db, "default", "blog")).json)
    assert (blog["name"], blog["definition_version"]) == ("Blog, better", 2)
    first = msgspec.json.decode((await get_version(read_db, "default", "blog", 1)).json)
    assert first["definition"]["name"] == "Blog production"
    old = msgspec.json.decode((await get_workflow(read_db, "default", "old")).json)
    assert (old["is_archived"], old["version"], old["definition_version"]) == (True, 2, 1)
    for missing in (
        get_workflow(read_db, "acme", "blog"),
        get_workflow(read_db, "default", "a\0"),
        get_version(read_db, "default", "old", 2),
        get_version(read_db, "default", "blog", 2**70),
        get_execution(read_db, "default", "a\0"),
    ):
        with pytest.raises(NotFound):
            await missing


async def test_catalogue_entries_are_answered_as_they_were_set(read_db: ReadDatabase) -> None:
    await caught_up(read_db, ALL, history_of(1))
    planted = msgspec.json.decode((await get_entry(read_db, "default", "models", "openai/gpt-4o-mini")).json)
    changed = msgspec.json.decode((await get_entry(read_db, "default", "models", "demo/writer")).json)
    template = msgspec.json.decode((await get_entry(read_db, "default", "templates", "greeting")).json)
    assert (planted["is_planted"], planted["default"]) == (True, True)
    assert (changed["is_planted"], changed["temperature"]) == (False, 0.5)
    assert template["text"] == Template(name="greeting", text="Dear {name}").text
    assert Model(name="demo/writer").default is False
    with pytest.raises(NotFound):
        await get_entry(read_db, "default", "models", "openai/old")
