"""What clients see of an execution that waits or is paused, on every read model that shows it."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from domain.execution import (
    Failure,
    ModelCallStarted,
    PauseExecution,
    RescheduleStep,
    ResumeExecution,
    RetryExecution,
    StepFailed,
    StepReleased,
    StepSuspended,
    Wait,
)
from projections.database import ReadDatabase
from projections.execution_list import list_executions
from projections.open_steps import open_steps
from tests.projections.databases import read_db, read_url
from tests.projections.runners import content
from tests.projections.test_documents import Story

__all__ = ["read_db", "read_url"]

QUESTION = Wait(kind="human_input", id="q1", message="Is this right?")


@pytest.fixture
def story(read_db: ReadDatabase) -> Story:
    told = Story(read_db)
    told.start("first")
    return told


async def listed(story: Story) -> dict[str, Any]:
    page = await list_executions(story.read_db, "default")
    items: list[dict[str, Any]] = msgspec.json.decode(page.items_json)
    return items[0]


async def test_a_wait_is_shown_with_its_kind_its_id_and_its_message(story: Story) -> None:
    story.report(StepSuspended(step="first", attempt=1, wait=QUESTION))
    detail = await story.read()
    shown = await listed(story)
    assert detail["status"] == shown["status"] == "WAITING"
    assert detail["steps"][0]["status"] == "waiting"
    wait = {"step": "first", "kind": "human_input", "id": "q1", "message": "Is this right?"}
    assert [{**given, "since": None} for given in detail["waits"]] == [{**wait, "since": None}]
    assert shown["waits"] == detail["waits"]
    bar = (await story.timeline())[-1]
    assert (bar["kind"], bar["wait_kind"], bar["status"]) == ("wait", "human_input", "running")


async def test_a_pause_is_shown_until_it_is_resumed(story: Story) -> None:
    story.history.handle(PauseExecution(execution_id="e1", reason="lunch"))
    detail = await story.read()
    assert (detail["status"], detail["reason"], detail["active_steps"]) == ("PAUSED", "lunch", ["first"])
    assert (await listed(story))["status"] == "PAUSED"
    story.history.handle(ResumeExecution(execution_id="e1"))
    detail = await story.read()
    assert (detail["status"], detail["reason"]) == ("PENDING", None)
    story.report(StepReleased(step="first", attempt=1))
    story.start("first", turn=2)
    assert (await story.read())["status"] == "RUNNING"


async def test_the_dispatcher_sees_who_still_has_a_step(story: Story) -> None:
    async def seen() -> list[tuple[str, bool]]:
        await story.read()
        return [(step.status, step.is_with_runner) for step in await open_steps(story.read_db)]

    assert await seen() == [("running", True)]
    story.history.handle(PauseExecution(execution_id="e1"))
    assert await seen() == [("waiting", True)]
    story.history.handle(ResumeExecution(execution_id="e1"))
    assert await seen() == [("scheduled", True)]
    story.report(StepReleased(step="first", attempt=1))
    assert await seen() == [("scheduled", False)]
    story.history.handle(PauseExecution(execution_id="e1"))
    assert await seen() == []


async def test_the_dispatcher_sees_whose_it_is(story: Story) -> None:
    async def holder() -> str | None:
        await story.read()
        [step] = await open_steps(story.read_db)
        return step.runner

    runner = await holder()
    assert runner
    story.history.handle(PauseExecution(execution_id="e1"))
    assert await holder() == runner
    story.history.handle(ResumeExecution(execution_id="e1"))
    assert await holder() == runner
    story.report(StepReleased(step="first", attempt=1))
    assert await holder() is None


async def test_a_step_that_waits_and_whose_runner_is_gone_is_no_open_step(story: Story) -> None:
    story.report(StepSuspended(step="first", attempt=1, wait=QUESTION))
    story.history.handle(RescheduleStep(execution_id="e1", step="first", turn=1, reason="its runner is gone"))
    await story.read()
    assert await open_steps(story.read_db) == []


async def test_a_retry_is_shown_as_if_what_failed_had_not_begun(story: Story) -> None:
    failure = Failure("timeout", "no answer", "research")
    story.report(StepFailed(step="first", attempt=1, failure=failure))
    failed = await story.read()
    assert (failed["status"], failed["error"]) == ("FAILED", "no answer")
    assert [step["status"] for step in failed["steps"]] == ["failed", "skipped", "skipped"]
    story.history.handle(RetryExecution(execution_id="e1"))
    again = await story.read()
    assert (again["status"], again["error"], again["ended_at"], again["failure"]) == ("PENDING", *[None] * 3)
    assert [step["status"] for step in again["steps"]] == ["scheduled", "pending", "pending"]
    [step] = await open_steps(story.read_db)
    assert (step.step, step.turn, step.status) == ("first", 2, "scheduled")
    story.start("first", turn=2)
    called = ModelCallStarted(
        step="first", attempt=2, call="c1", model="demo/writer", request=content("?"), task="research"
    )
    story.report(called)
    assert (await story.read())["model_calls"] == 1


async def test_a_step_that_is_put_off_says_until_when(story: Story) -> None:
    failure = Failure("crew_error", "CrewAI raised ValueError", "research")
    story.report(StepFailed(step="first", attempt=1, failure=failure))
    detail = await story.read()
    [step] = await open_steps(story.read_db)
    assert (detail["status"], detail["steps"][0]["status"]) == ("RUNNING", "scheduled")
    assert step.not_before == detail["steps"][0]["not_before"]
    assert step.not_before is not None
    assert step.not_before > step.since
