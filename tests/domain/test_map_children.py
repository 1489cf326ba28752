"""A map over a workflow: a child for each item, so many at once."""

from __future__ import annotations

from typing import Any

from domain.amounts import Amounts
from domain.execution import (
    ChildEnded,
    ChildRequested,
    ChildTold,
    ExecutionFailed,
    MapStarted,
    PauseExecution,
    RetryExecution,
    Status,
    StepResolved,
    StepScheduled,
    StepSuspended,
    TaskOutput,
    Wait,
)
from domain.execution.past import past_of
from domain.limits import Budget
from domain.message import Event
from domain.steps import ChildWorkflow, Map, Step
from tests.domain.flows import Run, crew, flow
from tests.domain.test_child_budgets import budgeted


def each(over: str = "['a', 'b', 'c']", at_once: int = 2, **fields: Any) -> Step:
    inputs: dict[str, object] = {"name": "item", "place": "item_index + 1", "vip": "inputs.vip"}
    child = ChildWorkflow(workflow_id="blog", inputs=inputs, **fields)
    return Step(map=Map(over=over, workflow=child, max_parallel=at_once))


def begun(number: int, item: str, name: str = "") -> list[Event]:
    child = name or f"1-each--{number}"
    return [
        ChildRequested(
            step=f"each--{number}",
            child=child,
            workflow_id="blog",
            workflow_version=1,
            inputs={"name": item, "place": number + 1, "vip": False},
        ),
        StepSuspended(
            step=f"each--{number}",
            attempt=0,
            wait=Wait("child", child, "waits for a child of workflow 'blog'"),
        ),
    ]


def test_each_item_has_a_child_so_many_at_once() -> None:
    run = Run(flow(each=each(), a=crew("a", ("each",))))
    started = MapStarted(step="each", items=("a", "b", "c"))
    assert run.events[1:] == [started, *begun(0, "a"), *begun(1, "b")]
    assert run.state.status is Status.WAITING
    assert run.ended("1-each--1", output=TaskOutput("B")) == [
        ChildEnded(step="each--1", child="1-each--1", status="completed"),
        StepResolved(step="each--1", output=TaskOutput("B")),
        *begun(2, "c"),
    ]
    assert run.state.status is Status.WAITING


def test_the_output_is_the_list_of_theirs() -> None:
    run = Run(flow(each=each(), a=crew("a", ("each",))))
    run.ended("1-each--1", output=TaskOutput("B"))
    run.ended("1-each--0", output=TaskOutput("{}", {"x": 1}))
    assert run.ended("1-each--2", output=TaskOutput("C"))[2:] == [
        StepResolved(step="each"),
        StepScheduled(step="a", turn=1),
    ]
    assert run.state.outputs["each"].structured == [{"x": 1}, "B", "C"]
    assert [step for step in run.state.steps if step.startswith("each--")] == []


def test_no_item_no_child() -> None:
    run = Run(flow(each=each("[]"), a=crew("a", ("each",))))
    assert [type(event) for event in run.events[1:]] == [MapStarted, StepResolved, StepScheduled]


def test_an_item_whose_child_fails_fails_the_execution_and_cancels_the_others() -> None:
    run = Run(flow(each=each(), a=crew("a", ("each",))))
    failed, told = run.ended("1-each--0", "failed")[1:]
    assert isinstance(failed, ExecutionFailed)
    assert (failed.step, failed.failure.code) == ("each--0", "child_failed")
    assert told == ChildTold(step="each--1", child="1-each--1", order="cancel")


def test_or_null_stands_in_its_place() -> None:
    run = Run(flow(each=each("['a', 'b']", on_failure="continue"), a=crew("a", ("each",))))
    run.ended("1-each--0", "failed")
    run.ended("1-each--1", output=TaskOutput("B"))
    assert run.state.outputs["each"].structured == [None, "B"]


def test_a_retry_has_what_failed_go_on_and_begins_the_cancelled_anew() -> None:
    run = Run(flow(each=each(), a=crew("a", ("each",))))
    run.ended("1-each--0", "failed")
    run.ended("1-each--1", "cancelled")
    events = run.send(RetryExecution(execution_id="x"))
    assert events[1:3] == [
        MapStarted(step="each"),
        ChildTold(step="each--0", child="1-each--0", order="retry", run=1),
    ]
    assert events[4:] == begun(1, "b", "2-each--1")
    run.ended("1-each--0", run=1, output=TaskOutput("A"))
    run.ended("2-each--1", output=TaskOutput("B"))
    run.ended("1-each--2", output=TaskOutput("C"))
    assert run.state.outputs["each"].structured == ["A", "B", "C"]


def test_a_pause_goes_down_to_every_item() -> None:
    run = Run(flow(each=each(), a=crew("a", ("each",))))
    told = [event for event in run.send(PauseExecution(execution_id="x")) if isinstance(event, ChildTold)]
    assert [(event.child, event.order) for event in told] == [
        ("1-each--0", "pause"),
        ("1-each--1", "pause"),
    ]


def test_items_take_turns_where_the_budget_is_small() -> None:
    run = Run(budgeted(Budget(max_tokens=100), each=each("['a', 'b']"), a=crew("a", ("each",))))
    assert [type(event) for event in run.events[2:]] == [ChildRequested, StepSuspended, StepSuspended]
    events = run.ended("1-each--0", output=TaskOutput("A"), spent=Amounts(tokens=40))
    assert [event.child for event in events if isinstance(event, ChildRequested)] == ["1-each--1"]
    assert run.ended("1-each--1", output=TaskOutput("B"))[2] == StepResolved(step="each")


def test_a_fork_has_the_whole_list() -> None:
    run = Run(flow(each=each("['a']"), a=crew("a", ("each",))))
    run.ended("1-each--0", output=TaskOutput("A"))
    taken = past_of("x", run.events).taken_over()  # type: ignore[arg-type]
    assert [(type(event).__name__, event.step) for event in taken if hasattr(event, "step")] == [
        ("TaskReused", "each"),
        ("StepReused", "each"),
    ]
