"""A map: the same tasks over every item of a list, so many at once."""

from __future__ import annotations

from typing import Any

import pytest
from msgspec.structs import replace

from domain.checks import definition_faults
from domain.definition import Crew, Definition, JsonSchema, Map, Step, Task
from domain.errors import Rejected
from domain.execution import (
    ExecutionCompleted,
    ExecutionFailed,
    Failure,
    MapStarted,
    RecordProgress,
    RequestExecution,
    RetryExecution,
    StartStep,
    StepFailed,
    StepResolved,
    StepScheduled,
    TaskOutput,
)
from domain.execution.results import MAX_WHOLE_BYTES
from domain.message import Event
from tests.domain.examples import WRITER
from tests.domain.flows import CATALOG, Run, crew


def mapping(over: str = "inputs.names", at_once: int = 2, **more: Step) -> Definition:
    """`each` greets every name of the input."""
    steps = {"each": Step(map=Map(over=over, tasks=("greet",), max_parallel=at_once)), **more}
    tasks = {"greet": Task(description="Greet {item}, {item_index}", expected_output="d", agent="writer")}
    tasks |= {
        name: Task(description="Do", expected_output="d", agent="writer")
        for step in more.values()
        if step.crew
        for name in step.crew.tasks
    }
    names: JsonSchema = {"type": "array", "items": {"type": "string"}}
    return Definition(
        name="Greetings", agents={"writer": WRITER}, tasks=tasks, steps=steps, inputs={"names": names}
    )


def working(work: Crew | None, **more: Any) -> Definition:
    """The same with a crew of its own, and tasks that its crew may name."""
    definition = mapping()
    mapped = Map(over="inputs.names", crew=work, max_parallel=2, **more)
    tasks = {**definition.tasks, "praise": definition.tasks["greet"]}
    if work is None or "praise" not in work.tasks:
        del tasks["praise"]
    return replace(definition, steps={"each": Step(map=mapped)}, tasks=tasks)


class Mapped(Run):
    """A run over the names that are given."""

    def __init__(self, definition: Definition, names: Any) -> None:
        self._names = names
        super().__init__(definition)

    def send(self, command: Any) -> list[Event]:
        if isinstance(command, RequestExecution):
            command = replace(command, inputs={"names": self._names})
        return super().send(command)

    def item(self, number: int, step: str = "each", task: str = "greet") -> list[Event]:
        """Runs an item to its end."""
        return self.run(f"{step}--{number}", task=f"{task}--{number}")


def item(number: int) -> StepScheduled:
    return StepScheduled(step=f"each--{number}", turn=1)


def test_so_many_items_begin_and_each_that_is_through_lets_the_next_begin() -> None:
    run = Mapped(mapping(), ["ada", "bob", "cy"])
    assert run.events[1:] == [MapStarted(step="each", items=("ada", "bob", "cy")), item(0), item(1)]
    assert run.item(1) == [item(2)]
    assert run.item(0) == []
    texts = [f"greet--{number} done" for number in range(3)]
    assert run.item(2) == [
        StepResolved(step="each"),
        ExecutionCompleted(output=TaskOutput(str(texts).replace("'", '"').replace(", ", ","), texts)),
    ]


def test_what_waits_for_a_map_begins_when_its_last_item_is_through() -> None:
    run = Mapped(mapping(after=crew("sum", ("each",))), ["ada"])
    assert run.item(0) == [StepResolved(step="each"), StepScheduled(step="after", turn=1)]
    assert run.state.outputs["each"].structured == ["greet--0 done"]


def test_an_empty_list_is_through_at_once() -> None:
    run = Mapped(mapping(after=crew("sum", ("each",))), [])
    assert run.events[1:] == [
        MapStarted(step="each", items=()),
        StepResolved(step="each"),
        StepScheduled(step="after", turn=1),
    ]


@pytest.mark.parametrize(("names", "code"), [("ada", "condition_failed"), (["x" * 200_000], "map_too_large")])
def test_what_can_not_be_mapped_fails_the_execution(names: object, code: str) -> None:
    assert isinstance(failed := Mapped(mapping(), names).events[-1], ExecutionFailed)
    assert failed.failure.code == code


def test_an_item_is_a_step_with_tasks_of_its_own_to_its_runner() -> None:
    document = mapping().as_assigned("each--7")
    assert list(document.steps) == ["each--7"]
    assert document.tasks_of("each--7") == ("greet--7",)
    assert document.tasks["greet--7"].description == "Greet {item}, {item_index}"


def test_an_item_that_is_through_takes_no_room_and_its_late_report_is_refused() -> None:
    run = Mapped(mapping(at_once=1), [str(number) for number in range(50)])
    sizes = set()
    for number in range(49):
        run.item(number)
        sizes.add(len(run.state.steps))
    assert sizes == {2}
    with pytest.raises(Rejected, match="'each--3' is not scheduled"):
        run.send(StartStep(execution_id="x", step="each--3", turn=1, delivery=9, runner="late"))


def test_an_output_beyond_an_event_is_told_in_part() -> None:
    run = Mapped(mapping(at_once=1), ["a", "b"])
    run.item(0)
    run.state.maps["each"].results[0][0] = TaskOutput("x" * 2 * MAX_WHOLE_BYTES)
    ended = run.item(1)[-1]
    assert isinstance(ended, ExecutionCompleted)
    assert (ended.output.structured, ended.output.text[:3]) == (None, '["x')


@pytest.mark.parametrize(
    ("definition", "at", "says"),
    [
        (mapping(over="inputs.nams"), "/steps/each/map/over", "unknown field 'inputs.nams'"),
        (mapping(over="1"), "/steps/each/map/over", "gives a number; expected a list"),
        (working(None), "/steps/each/map", "expected exactly one of: crew, tasks, workflow"),
        (
            working(Crew(("greet",)), tasks=("greet",)),
            "/steps/each/map",
            "expected exactly one of: crew, tasks, workflow",
        ),
        (working(Crew(("gret",))), "/steps/each/map/crew/tasks/0", "unknown task 'gret'"),
        (
            working(Crew(("greet",), manager_model="demo/small")),
            "/steps/each/map/crew/manager_model",
            "only a hierarchical crew has a manager",
        ),
        (
            replace(mapping(), inputs={"names": {"type": "array"}, "item": {}}),
            "/inputs/item",
            "stands for an item of 'each'",
        ),
        (
            mapping(over="inputs.names", b=crew("greet")),
            "/steps/b/crew/tasks/0",
            "already part of step 'each'",
        ),
    ],
)
def test_a_fault_of_a_map_names_its_field(definition: Definition, at: str, says: str) -> None:
    faults = {fault.pointer: fault.message for fault in definition_faults(definition, CATALOG)}
    assert says in faults[at]


def test_a_task_of_a_map_is_no_context_of_others_but_the_map_is() -> None:
    definition = mapping(after=crew("sum", ("each",)))
    for context, faulty in ((("greet",), True), (("each",), False)):
        total = Task(description="Sum", expected_output="d", agent="writer", context=context)
        changed = replace(definition, tasks={**definition.tasks, "sum": total})
        faults = {fault.pointer for fault in definition_faults(changed, CATALOG)}
        assert ("/tasks/sum/context/0" in faults) is faulty


def test_a_map_that_is_retried_goes_on_where_it_was() -> None:
    run = Mapped(mapping(), ["ada", "bob", "cy"])
    run.item(0)
    claim = StartStep(execution_id="x", step="each--1", turn=1, delivery=1, runner="r")
    run.send(claim)
    failed = StepFailed(step="each--1", attempt=1, failure=Failure("model_error", "gone"))
    run.send(RecordProgress(execution_id="x", step="each--1", attempt=1, after=0, entries=(failed,)))
    _, started, *again = run.send(RetryExecution(execution_id="x"))
    assert started == MapStarted(step="each")
    assert [(event.step, event.turn) for event in again if isinstance(event, StepScheduled)] == [
        ("each--1", 2),
        ("each--2", 2),
    ]
    run.item(2)
    assert isinstance(run.item(1)[-1], ExecutionCompleted)
