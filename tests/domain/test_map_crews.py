"""Maps whose items are crews: what their runners see, items that fail, and work that is sent back."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from msgspec.structs import replace

from application.assigning import assignment_of
from domain.definition import Crew, Definition, Join, Map, Step, Task
from domain.errors import Rejected
from domain.execution import (
    ApprovalRequested,
    ExecutionCompleted,
    ExecutionFailed,
    Failure,
    MapStarted,
    PauseExecution,
    RecordProgress,
    ResumeExecution,
    StartStep,
    StepFailed,
    StepResolved,
    StepScheduled,
    TaskCompleted,
    TaskOutput,
)
from domain.retries import Retry
from tests.domain.flows import crew, gate
from tests.domain.test_map import Mapped, item, mapping, working

NAMES = ["ada", "bob", "cy"]
GONE = Failure("model_error", "gone")
CONTINUE = Map(over="inputs.names", tasks=("greet",), max_parallel=2, on_failure="continue")


def continuing(**fields: Any) -> Definition:
    return replace(mapping(), steps={"each": Step(map=CONTINUE)}, **fields)


def fail(run: Mapped, number: int, failure: Failure = GONE) -> Any:
    """What follows when an item's crew reports its failure."""
    step = f"each--{number}"
    turn = run.state.steps[step].turn
    run.send(StartStep(execution_id="x", step=step, turn=turn, delivery=1, runner="r"))
    attempt = run.state.steps[step].attempt
    entries = (StepFailed(step=step, attempt=attempt, failure=failure),)
    return run.send(RecordProgress(execution_id="x", step=step, attempt=attempt, after=0, entries=entries))


def sent_back(over: str = "inputs.names", at_once: int = 2, **more: Step) -> Mapped:
    """A map between a draft and the gate that shows both of them."""
    steps = {"draft": crew("draft"), "gate": gate(("each",), show=("draft", "each")), **more}
    definition = mapping(over=over, at_once=at_once, **steps)
    mapped = replace(definition.steps["each"], after=("draft",))
    return Mapped(replace(definition, steps={**definition.steps, "each": mapped}), NAMES)


def test_an_item_is_a_crew_with_its_process_and_its_own_context() -> None:
    work = Crew(("greet", "praise"), process="hierarchical", manager_model="demo/small", planning=True)
    definition = working(work)
    praise = Task(description="Praise {item}", expected_output="d", context=("greet",))
    seen = replace(definition, tasks={**definition.tasks, "praise": praise}).as_assigned("each--4")
    own = seen.steps["each--4"].crew
    assert own == replace(work, tasks=("greet--4", "praise--4"))
    assert seen.tasks["praise--4"].context == ("greet--4",)
    assert definition.models == ("demo/small",)


def test_each_task_of_an_item_has_to_be_done_and_the_last_ones_output_counts() -> None:
    run = Mapped(working(Crew(("greet", "praise"))), ["ada"])
    with pytest.raises(Rejected, match="'praise--0' has no output"):
        run.item(0)
    run.state.outputs["praise--0"] = TaskOutput("well done, ada")
    ended = run.item(0)[-1]
    assert isinstance(ended, ExecutionCompleted)
    assert ended.output.structured == ["well done, ada"]
    assert run.state.outputs.keys() == {"each"}


def test_an_items_runner_is_given_the_item_and_not_the_list() -> None:
    run = Mapped(mapping(), NAMES)
    run.send(StartStep(execution_id="x", step="each--1", turn=1, delivery=1, runner="r"))
    assert assignment_of("x", "each--1", run.state).inputs == {"item": "bob", "item_index": 1}


def test_what_an_items_runner_is_given_is_as_large_whatever_the_lists_length() -> None:
    sizes = set()
    for count in (10, 1_000):
        run = Mapped(mapping(), ["ada"] * count)
        run.send(StartStep(execution_id="x", step="each--1", turn=1, delivery=1, runner="r"))
        sizes.add(len(msgspec.json.encode(assignment_of("x", "each--1", run.state))))
    assert len(sizes) == 1


def test_an_items_runner_is_given_the_inputs_that_its_texts_name() -> None:
    definition = mapping()
    task = replace(definition.tasks["greet"], description="Greet {item} of {names}")
    run = Mapped(replace(definition, tasks={"greet": task}), NAMES)
    run.send(StartStep(execution_id="x", step="each--0", turn=1, delivery=1, runner="r"))
    assert assignment_of("x", "each--0", run.state).inputs["names"] == NAMES


def test_an_item_that_fails_fails_the_execution_unless_the_map_goes_on_without_it() -> None:
    assert isinstance(fail(Mapped(mapping(), NAMES), 0)[-1], ExecutionFailed)
    run = Mapped(continuing(), NAMES)
    left_out = StepFailed(step="each--0", attempt=1, failure=GONE, is_left_out=True)
    assert fail(run, 0) == [left_out, item(2)]
    run.item(2)
    resolved, ended = run.item(1)
    assert resolved == StepResolved(step="each")
    assert isinstance(ended, ExecutionCompleted)
    assert ended.output.structured == [None, "greet--1 done", "greet--2 done"]


def test_an_item_is_tried_again_before_it_is_left_out() -> None:
    run = Mapped(continuing(retry=Retry(on=("timeout",))), ["ada"])
    _, again = fail(run, 0, Failure("timeout", "late"))
    assert (again.step, again.turn, again.delay_s) == ("each--0", 2, 1.0)
    failed, *_, ended = fail(run, 0, Failure("timeout", "late"))
    assert failed.is_left_out
    assert ended.output.structured == [None]


def test_an_item_whose_runners_die_is_left_out_too() -> None:
    run = Mapped(continuing(), ["ada"])
    for delivery in (1, 2, 3):
        run.send(StartStep(execution_id="x", step="each--0", turn=1, delivery=delivery, runner="r"))
    events = run.send(StartStep(execution_id="x", step="each--0", turn=1, delivery=4, runner="r"))
    assert isinstance(failed := events[0], StepFailed)
    assert (failed.failure.code, failed.is_left_out) == ("attempts_exhausted", True)
    assert isinstance(events[-1], ExecutionCompleted)


def test_what_a_runner_says_of_being_left_out_counts_for_nothing() -> None:
    run = Mapped(mapping(), NAMES)
    run.send(StartStep(execution_id="x", step="each--0", turn=1, delivery=1, runner="r"))
    entry = StepFailed(step="each--0", attempt=1, failure=GONE, is_left_out=True)
    report = RecordProgress(execution_id="x", step="each--0", attempt=1, after=0, entries=(entry,))
    failed, ended = run.send(report)
    assert isinstance(failed, StepFailed)
    assert not failed.is_left_out
    assert isinstance(ended, ExecutionFailed)


def test_a_map_between_a_crew_and_its_approval_runs_again_over_the_new_list() -> None:
    run = sent_back(over="[draft.text, draft.text]")
    run.run("draft")
    run.item(0)
    run.item(1)
    run.decide("retry", comment="shorter")
    events = run.run("draft")
    assert events == [
        MapStarted(step="each", items=("draft done", "draft done")),
        StepScheduled(step="each--0", turn=2),
        StepScheduled(step="each--1", turn=2),
    ]
    run.item(1)
    resolved, asked, *_ = run.item(0)
    assert resolved == StepResolved(step="each")
    assert isinstance(asked, ApprovalRequested)
    assert asked.approval == "2-gate"


def test_items_of_a_map_that_is_sent_back_see_what_was_said() -> None:
    run = Mapped(mapping(gate=gate(("each",))), ["ada"])
    run.item(0)
    _, started, again = run.decide("retry", comment="shorter")
    assert (started, again) == (
        MapStarted(step="each", items=("ada",)),
        StepScheduled(step="each--0", turn=2),
    )
    run.send(StartStep(execution_id="x", step="each--0", turn=2, delivery=1, runner="r"))
    assert assignment_of("x", "each--0", run.state).remarks == ("shorter",)


def test_a_runner_of_an_item_that_was_sent_back_reports_nothing_any_more() -> None:
    """Also where numbers begin again: an attempt's number is never used twice."""
    any_of = Step(approval=gate().approval, after=Join(any=("draft", "each")))
    run = sent_back(over="['a']", at_once=1, gate=replace(any_of, after=Join(any=("each", "draft"))))
    run.run("draft")
    run.send(StartStep(execution_id="x", step="each--0", turn=1, delivery=1, runner="late"))
    run.decide("retry", comment="again")
    assert "each--0" not in run.state.steps
    run.run("draft")
    run.send(StartStep(execution_id="x", step="each--0", turn=2, delivery=1, runner="new"))
    done = TaskCompleted(step="each--0", attempt=1, task="greet--0", output=TaskOutput("late"), duration_ms=1)
    with pytest.raises(Rejected, match="attempt 1 is not allowed while attempt 2"):
        run.send(RecordProgress(execution_id="x", step="each--0", attempt=1, after=0, entries=(done,)))


def test_a_map_that_was_paused_goes_on_with_the_same_items() -> None:
    run = Mapped(mapping(), NAMES)
    run.item(0)
    run.send(PauseExecution(execution_id="x"))
    resumed = run.send(ResumeExecution(execution_id="x"))
    assert [(e.step, e.turn) for e in resumed if isinstance(e, StepScheduled)] == [
        ("each--1", 2),
        ("each--2", 2),
    ]
    run.item(2)
    assert isinstance(run.item(1)[-1], ExecutionCompleted)


def test_one_more_item_costs_what_the_first_did() -> None:
    """What stays of an item that is through is one output; nothing else of the state grows with the list."""
    run = Mapped(working(Crew(("greet", "praise"))), [str(number) for number in range(600)])
    sizes = set()
    for number in range(599):
        run.state.outputs[f"praise--{number}"] = TaskOutput("x")
        events = run.item(number)
        sizes.add((len(events), len(run.state.steps), len(run.state.outputs)))
    results = run.state.maps["each"].results
    assert sizes == {(1, 3, 0), (0, 2, 0)}
    assert max(map(len, results.values())) == 128
