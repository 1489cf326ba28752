"""Which step comes when: routes, steps that are skipped, joins, the end and its output."""

from __future__ import annotations

import msgspec
import pytest

from domain.checks import definition_faults
from domain.definition import Crew, Definition, Join, Route, Router, Step, Task
from domain.execution import (
    EXECUTION,
    ExecutionCompleted,
    ExecutionFailed,
    RequestExecution,
    RouteChosen,
    StepReused,
    StepScheduled,
    StepSkipped,
    StepStatus,
    TaskOutput,
)
from domain.execution.past import past_of
from tests.domain.flows import CATALOG, Run, crew, flow, router


def first(step: str, **fields: object) -> StepScheduled:
    return StepScheduled(step=step, turn=1, **fields)  # type: ignore[arg-type]


def branching() -> Definition:
    return flow(
        risk=crew("risk"),
        route=router(("risk.score >= 0.8", "alarm"), otherwise="answer", after=("risk",)),
        answer=crew("answer"),
        alarm=crew("alarm"),
    )


def test_the_first_route_that_holds_is_taken_and_the_others_steps_are_skipped() -> None:
    run = Run(branching())
    assert run.run("risk", score=0.9) == [
        RouteChosen(step="route", then="alarm", when="risk.score >= 0.8", seen={"risk.score": 0.9}),
        StepSkipped(step="answer"),
        first("alarm"),
    ]
    assert run.run("alarm") == [ExecutionCompleted(output=TaskOutput("alarm done"))]


def test_otherwise_is_taken_when_no_route_holds() -> None:
    run = Run(branching())
    assert run.run("risk", score=0.1)[:2] == [
        RouteChosen(step="route", then="answer", seen={"risk.score": 0.1}),
        first("answer"),
    ]
    assert run.run("answer") == [ExecutionCompleted(output=TaskOutput("answer done"))]


def test_no_route_and_no_otherwise_fail_the_execution_with_what_was_seen() -> None:
    run = Run(flow(risk=crew("risk"), route=router(("risk.score > 1", "a"), after=("risk",)), a=crew("a")))
    (failed,) = run.run("risk", score=0.5)
    assert isinstance(failed, ExecutionFailed)
    assert (failed.failure.code, failed.step) == ("no_route", "route")
    assert "risk.score is 0.5" in failed.failure.message


def test_a_condition_that_can_not_be_worked_out_fails_the_execution_with_what_was_seen() -> None:
    routes = router(("1 / (risk.score - 0.5) > 1", "a"), otherwise="a", after=("risk",))
    run = Run(flow(risk=crew("risk"), route=routes, a=crew("a")))
    (failed,) = run.run("risk", score=0.5)
    assert isinstance(failed, ExecutionFailed)
    assert failed.failure.code == "condition_failed"
    assert "divides by zero" in failed.failure.message
    assert "risk.score is 0.5" in failed.failure.message


def test_a_router_over_the_inputs_alone_decides_at_once() -> None:
    run = Run(flow(route=router(("inputs.vip", "a"), otherwise="b"), a=crew("a"), b=crew("b")), vip=True)
    assert run.events[1:] == [
        RouteChosen(step="route", then="a", when="inputs.vip", seen={"inputs.vip": True}),
        first("a"),
        StepSkipped(step="b"),
    ]


def test_steps_behind_a_skipped_step_are_skipped_and_a_join_of_both_branches_runs() -> None:
    run = Run(
        flow(
            route=router(("inputs.vip", "a"), otherwise="b"),
            a=crew("a"),
            behind=crew("behind", ("a",)),
            b=crew("b"),
            both=crew("both", ("behind", "b")),
        )
    )
    assert run.events[2:] == [StepSkipped(step="a"), StepSkipped(step="behind"), first("b")]
    assert run.run("b") == [first("both")]


def test_a_join_of_nothing_but_skipped_steps_is_skipped() -> None:
    run = Run(
        flow(
            route=router(("inputs.vip", "a"), ("inputs.vip", "b"), otherwise="c"),
            a=crew("a"),
            b=crew("b"),
            c=crew("c"),
            join=crew("join", ("a", "b")),
        )
    )
    assert run.statuses()["join"] is StepStatus.SKIPPED
    assert run.run("c") == [ExecutionCompleted(output=TaskOutput("c done"))]


def test_any_begins_with_the_first_and_once() -> None:
    run = Run(flow(a=crew("a"), b=crew("b"), join=crew("join", Join(any=("a", "b")))))
    assert run.run("b") == [first("join")]
    assert run.run("a") == []
    assert run.run("join") == [ExecutionCompleted(output=TaskOutput("join done"))]


def test_an_execution_ends_only_after_every_step() -> None:
    run = Run(flow(a=crew("a"), b=crew("b"), join=crew("join", Join(any=("a", "b")))))
    run.run("b")
    assert run.run("join") == []
    assert run.run("a") == [ExecutionCompleted(output=TaskOutput("join done"))]


def test_a_target_of_two_routers_runs_when_one_of_them_leads_there() -> None:
    run = Run(
        flow(
            one=router(("inputs.vip", "a"), otherwise="both"),
            two=router(("inputs.vip", "both"), otherwise="a"),
            a=crew("a"),
            both=crew("both"),
        )
    )
    assert set(run.statuses().values()) == {StepStatus.COMPLETED, StepStatus.SCHEDULED}


def test_a_step_after_a_router_runs_wherever_it_led() -> None:
    run = Run(
        flow(route=router(("inputs.vip", "a"), otherwise="a"), a=crew("a"), log=crew("log", ("route",)))
    )
    assert run.events[-2:] == [first("a"), first("log")]


def test_a_step_does_not_see_what_was_skipped_nor_what_came_later() -> None:
    steps = {"a": crew("a"), "b": crew("b"), "sum": crew("sum", Join(any=("a", "b")))}
    definition = flow(**steps)
    tasks = {
        **definition.tasks,
        "sum": Task(description="Sum", expected_output="s", agent="writer", context=("a", "b")),
    }
    run = Run(msgspec.structs.replace(definition, tasks=tasks))
    assert run.run("b") == [first("sum", without=("a",))]
    run.run("a")
    assert run.state.steps["sum"].without == ("a",)


def test_a_long_flow_of_routers_comes_to_its_end_in_one_decision() -> None:
    steps = {f"r{n}": router(("inputs.vip", f"r{n + 1}"), otherwise=f"r{n + 1}") for n in range(150)}
    run = Run(flow(a=crew("a"), **dict(reversed(steps.items())), r150=crew("end")))
    assert len(run.events) == 1 + 1 + 150 + 1


@pytest.mark.parametrize(
    ("steps", "at", "says"),
    [
        ({"a": Step()}, "/steps/a", "has no kind; expected exactly one of: crew, router"),
        (
            {"a": Step(crew=Crew(tasks=("t",)), router=Router((Route("true", "b"),))), "b": crew("b")},
            "/steps/a",
            "has crew and router; expected exactly one",
        ),
        ({"a": crew("a", Join())}, "/steps/a/after", "expected either all or any"),
        ({"a": crew("a", Join(any=("x",)))}, "/steps/a/after/any/0", "unknown step 'x'"),
        ({"a": crew("a"), "r": router(("true", "x"))}, "/steps/r/router/routes/0/then", "unknown step 'x'"),
        (
            {"a": crew("a"), "r": router(("true", "a"), otherwise="x")},
            "/steps/r/router/otherwise",
            "unknown step 'x'",
        ),
        (
            {"a": crew("a"), "r": router(("a.text == 'x'", "b")), "b": crew("b")},
            "/steps/r/router/routes/0/when",
            "unknown name 'a'; expected one of: inputs, steps",
        ),
        (
            {"risk": crew("risk"), "r": router(("risk.scoer > 1", "b"), after=("risk",)), "b": crew("b")},
            "/steps/r/router/routes/0/when",
            "unknown field 'risk.scoer'; expected one of: level, score (column 6)",
        ),
        (
            {"risk": crew("risk"), "r": router(("risk.score >", "b"), after=("risk",)), "b": crew("b")},
            "/steps/r/router/routes/0/when",
            "found the end; expected a value",
        ),
        ({"r": router(("true", "a")), "a": crew("a", ("b",)), "b": crew("b", ("a",))}, "/steps", "a, b wait"),
        ({"r": router(("true", "r")), "a": crew("a")}, "/steps", "the steps r wait for each other"),
    ],
)
def test_a_fault_of_the_flow_names_its_field(steps: dict[str, Step], at: str, says: str) -> None:
    faults = {fault.pointer: fault.message for fault in definition_faults(flow(**steps), CATALOG)}
    assert says in faults[at]


def test_a_fork_chooses_its_way_again() -> None:
    run = Run(branching())
    run.run("risk", score=0.9)
    past = past_of("x", run.events)  # type: ignore[arg-type]
    assert past.taken_over()[-1] == StepReused(step="risk")
    fork = RequestExecution(
        execution_id="y",
        name="fork",
        definition=run.state.definition,
        inputs={},
        models={},
        taken_over=past.taken_over(),
    )
    begun = EXECUTION.decide(EXECUTION.initial, fork)
    assert [type(event) for event in begun[-3:]] == [RouteChosen, StepSkipped, StepScheduled]
