"""Signals: waited for, kept until then, taken once."""

from __future__ import annotations

import pytest
from msgspec.structs import replace

from domain.checks import definition_faults
from domain.definition import Join, Signal, Step, Task
from domain.errors import NotFound, Rejected
from domain.execution import (
    CancelExecution,
    ForkedFrom,
    RequestExecution,
    SignalReceived,
    Status,
    StepResolved,
    StepScheduled,
    StepSuspended,
    TaskOutput,
    Wait,
)
from domain.execution.past import past_of
from tests.domain.flows import CATALOG, Run, crew, flow, gate, router


def waiting(after: tuple[str, ...] | Join = (), **fields: str) -> Step:
    return Step(signal=Signal(**fields), after=after)


def test_a_signal_step_waits_and_goes_on_with_the_payload() -> None:
    run = Run(flow(reply=waiting(), a=crew("a", ("reply",))))
    assert run.events[-1] == StepSuspended(
        step="reply", attempt=0, wait=Wait("signal", "reply", "waits for signal 'reply'")
    )
    assert run.state.status is Status.WAITING
    assert run.signal("reply", {"yes": True}) == [
        SignalReceived(name="reply", payload={"yes": True}, by="me"),
        StepResolved(step="reply", output=TaskOutput('{"yes":true}', {"yes": True}), signal="reply"),
        StepScheduled(step="a", turn=1),
    ]


def test_a_signal_that_comes_early_is_kept() -> None:
    run = Run(flow(a=crew("a"), reply=waiting(("a",)), b=crew("b", ("reply",))))
    assert run.signal("reply", "early") == [SignalReceived(name="reply", payload="early", by="me")]
    assert run.run("a") == [
        StepResolved(step="reply", output=TaskOutput("early", "early"), signal="reply"),
        StepScheduled(step="b", turn=1),
    ]


def test_each_signal_is_taken_by_one_step_the_oldest_first() -> None:
    run = Run(
        flow(a=crew("a"), one=waiting(("a",), name="go"), two=waiting(("one",), name="go"), b=crew("b"))
    )
    run.signal("go", 1)
    run.signal("go", 2)
    run.run("a")
    assert (run.state.outputs["one"].structured, run.state.outputs["two"].structured) == (1, 2)
    run.signal("go", 3)
    assert run.state.signals == {"go": (3,)}


def test_a_signal_that_no_step_waits_for_is_refused_with_those_there_are() -> None:
    with pytest.raises(NotFound, match="no signal 'stop'; expected: reply"):
        Run(flow(reply=waiting(), a=crew("a"))).signal("stop")


def test_an_ended_execution_takes_no_signal() -> None:
    run = Run(flow(reply=waiting(), a=crew("a")))
    run.send(CancelExecution(execution_id="x"))
    with pytest.raises(Rejected, match="while cancelled"):
        run.signal("reply")


def test_only_so_many_signals_are_kept() -> None:
    run = Run(flow(a=crew("a"), reply=waiting(("a",))))
    for _ in range(100):
        run.signal("reply")
    with pytest.raises(Rejected, match="100 signals"):
        run.signal("reply")


def test_a_payload_is_seen_by_conditions_and_by_agents() -> None:
    steps = {
        "risk": waiting(payload_schema="Risk"),
        "route": router(("risk.score > 0.5", "a"), otherwise="b", after=("risk",)),
        "a": crew("a"),
        "b": crew("b"),
    }
    definition = flow(**steps)
    context = Task(description="Do", expected_output="d", agent="writer", context=("risk",))
    run = Run(replace(definition, tasks={**definition.tasks, "a": context}))
    assert StepScheduled(step="a", turn=1) in run.signal("risk", {"score": 0.9})


def test_a_fault_of_a_signal_names_its_field() -> None:
    definition = flow(a=waiting(payload_schema="Nothing"), b=crew("a"))
    faults = {fault.pointer: fault.message for fault in definition_faults(definition, CATALOG)}
    assert "unknown schema 'Nothing'" in faults["/steps/a/signal/payload_schema"]
    assert "is called as a task is" in faults["/steps/a"]


def fork_of(run: Run) -> Run:
    """With all that the run has behind it."""
    fork, events = Run(run.state.definition), tuple(run.events)
    fork.state, fork.events = fork.state.__class__(), []
    request = RequestExecution(
        execution_id="f",
        name="f",
        definition=run.state.definition,
        inputs={"vip": False},
        models={},
        forked_from=ForkedFrom("x", len(events)),
        taken_over=past_of("x", events).taken_over(),  # type: ignore[arg-type]
    )
    fork.send(request)
    return fork


def test_a_fork_has_the_signals_of_its_past_those_that_were_taken_and_those_that_were_kept() -> None:
    run = Run(flow(one=waiting(name="go"), a=crew("a", ("one",)), two=waiting(("a",), name="go")))
    run.signal("go", 1)
    run.signal("go", 2)
    run.signal("go", 3)
    fork = fork_of(run)
    assert fork.state.outputs["one"].structured == 1
    assert fork.state.signals == {"go": (2, 3)}
    fork.run("a")
    assert (fork.state.outputs["two"].structured, fork.state.status) == (2, Status.COMPLETED)


def test_a_fork_has_no_signal_that_a_step_took_which_was_sent_back() -> None:
    run = Run(flow(a=crew("a"), one=waiting(("a",), name="go"), gate=gate(("one",), show=("a",))))
    run.run("a")
    run.signal("go", 1)
    run.decide("retry", comment="Another one")
    run.run("a")
    run.signal("go", 2)
    fork = fork_of(run)
    assert (fork.state.outputs["one"].structured, fork.state.signals) == (2, {"go": ()})
