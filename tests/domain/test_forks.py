"""What a fork begins with, and how it goes on."""

from __future__ import annotations

from typing import Literal

import pytest

from domain.execution import (
    EXECUTION,
    CallReused,
    CallSettled,
    Content,
    ExecutionCompleted,
    ExecutionEvents,
    ExecutionRequested,
    Failure,
    ForkedFrom,
    ModelCallCompleted,
    ModelCallStarted,
    Origin,
    RecordProgress,
    RequestExecution,
    StepCompleted,
    StepReused,
    StepScheduled,
    StepStarted,
    TaskCompleted,
    TaskOutput,
    TaskReused,
    TaskStarted,
    ToolCallFailed,
    ToolCallStarted,
)
from domain.execution.past import past_of
from tests.domain.examples import blog, diamond
from tests.domain.spec import Spec

TEXT = Content("digest", 4, "text")
spec = Spec(EXECUTION)


def asked(call: str, task: str, step: str = "crew") -> ModelCallStarted:
    return ModelCallStarted(
        step=step, attempt=1, call=call, task=task, agent="writer", model="a/b", request=TEXT
    )


def answered(call: str, task: str, step: str = "crew") -> ModelCallCompleted:
    return ModelCallCompleted(
        step=step,
        attempt=1,
        call=call,
        task=task,
        model="a/b",
        response=TEXT,
        prompt_tokens=100,
        completion_tokens=10,
        cost_usd=0.5,
        duration_ms=1,
    )


def completed(task: str, step: str = "crew") -> TaskCompleted:
    return TaskCompleted(step=step, attempt=1, task=task, output=TaskOutput(task.upper()), duration_ms=5)


BEGUN: tuple[ExecutionEvents, ...] = (
    ExecutionRequested(name="run", definition=blog(), inputs={"topic": "tea"}, models={}),
    StepScheduled(step="crew", turn=1),
    StepStarted(step="crew", turn=1, delivery=1, attempt=1, runner="r1"),
    TaskStarted(step="crew", attempt=1, task="research", agent="researcher"),
    asked("c1", "research"),
    answered("c1", "research"),
    completed("research"),
    TaskStarted(step="crew", attempt=1, task="draft", agent="writer"),
    asked("c2", "draft"),
    answered("c2", "draft"),
)
REUSED = CallReused(
    step="crew",
    attempt=0,
    call="c1",
    origin=Origin("p", 6, "c1"),
    task="research",
    agent="writer",
    model="a/b",
    prompt_tokens=100,
    completion_tokens=10,
    cost_usd=0.5,
)
DONE = TaskReused(step="crew", task="research", output=TaskOutput("RESEARCH"))


def test_a_past_takes_over_what_had_completed_and_nothing_that_was_under_way() -> None:
    assert past_of("p", BEGUN).taken_over() == (REUSED, DONE)
    assert past_of("p", BEGUN[:6]).taken_over() == ()


def test_a_past_knows_where_each_call_was_answered_and_each_task_begun() -> None:
    past = past_of("p", BEGUN)
    assert past.answered == {"c1": 6, "c2": 10}
    assert past.began == {"research": 4, "draft": 8}


def test_a_tools_failure_is_an_outcome_too() -> None:
    failed = ToolCallFailed(
        step="crew",
        attempt=1,
        call="t",
        task="draft",
        tool="calculator",
        failure=Failure("x", "y"),
        duration_ms=1,
    )
    call = past_of("p", (*BEGUN, failed)).call("t")
    assert call is not None
    assert (call.tool, call.model, call.origin) == ("calculator", None, Origin("p", 11, "t"))


@pytest.mark.parametrize(("outcome", "is_known"), [("happened", True), ("did_not_happen", False)])
def test_what_a_person_said_of_a_call_is_an_outcome_where_it_has_a_result(
    outcome: Literal["happened", "did_not_happen"], is_known: bool
) -> None:
    begun = ToolCallStarted(
        step="crew", attempt=1, call="t", task="draft", agent="writer", tool="send", arguments=TEXT
    )
    settled = CallSettled(step="crew", call="t", outcome=outcome, result=TEXT if is_known else None)
    call = past_of("p", (*BEGUN, begun, settled)).call("t")
    assert (call is not None) == is_known
    if call is not None:
        assert (call.tool, call.agent, call.origin) == ("send", "writer", Origin("p", 12, "t"))


def test_a_fork_of_a_fork_names_the_execution_in_which_a_call_was_made() -> None:
    reused = CallReused(step="crew", attempt=1, call="mine", origin=Origin("p", 10, "c2"), task="draft")
    fork = (*BEGUN[:3], reused, completed("draft"))
    assert [call.origin for call in past_of("f", fork).calls] == [Origin("p", 10, "c2")]
    assert past_of("f", fork).answered == {"mine": 4}


def test_a_fork_is_scheduled_with_what_it_has_taken_over() -> None:
    fork = ForkedFrom("p", 10, tasks=("research",))
    command = RequestExecution(
        execution_id="f",
        name="run (fork)",
        definition=blog(),
        inputs={},
        models={},
        forked_from=fork,
        taken_over=(REUSED, DONE),
    )
    requested = ExecutionRequested(
        name="run (fork)", definition=blog(), inputs={}, models={}, forked_from=fork
    )
    spec.when(command).then(requested, REUSED, DONE, StepScheduled(step="crew", turn=1))


def test_a_fork_begins_the_steps_behind_those_that_it_has_taken_over() -> None:
    begun = (
        ExecutionRequested(name="run", definition=diamond(), inputs={}, models={}),
        StepScheduled(step="first", turn=1),
        StepStarted(step="first", turn=1, delivery=1, attempt=1, runner="r1"),
        completed("one", "first"),
        StepCompleted(step="first", attempt=1),
    )
    command = RequestExecution(
        execution_id="f",
        name="fork",
        definition=diamond(),
        inputs={},
        models={},
        forked_from=ForkedFrom("p", 5, tasks=("one",)),
        taken_over=past_of("p", begun).taken_over(),
    )
    assert spec.when(command).decided()[1:] == (
        TaskReused(step="first", task="one", output=TaskOutput("ONE")),
        StepReused(step="first"),
        StepScheduled(step="left", turn=1),
        StepScheduled(step="right", turn=1),
    )


def test_a_fork_ends_when_the_rest_is_done() -> None:
    fork = spec.given(BEGUN[0], REUSED, DONE, *BEGUN[1:3])
    entries = (
        CallReused(step="crew", attempt=1, call="c2", origin=Origin("p", 10, "c2"), task="draft"),
        completed("draft"),
        completed("edit"),
        StepCompleted(step="crew", attempt=1),
    )
    report = RecordProgress(execution_id="f", step="crew", attempt=1, after=0, entries=entries)
    fork.when(report).then(*entries, ExecutionCompleted(output=TaskOutput("EDIT")))
