"""What fits no message or no event: read in pieces, or a clear failure, and nobody tries for ever."""

from __future__ import annotations

from typing import Any

import msgspec
from msgspec.structs import replace

from application.channel import MAX_REPLY_BYTES
from application.ports import MAX_EVENT_BYTES, Assignment, Reporter
from domain.definition import Crew, Definition, Map, Step, Task
from domain.execution import (
    ExecutionFailed,
    Status,
    StepCompleted,
    StepFailed,
    TaskCompleted,
    TaskOutput,
)
from tests.application.house import House, PlainEngine
from tests.application.test_runs import ended
from tests.domain.examples import WRITER, blog
from tests.waiting import eventually

ITEM = {"body": 'ü"\x01' * 20_000}
"""Of an item: 120 KB in UTF-8 as it is, more as JSON."""

ITEMS = 12


class Narrow(House):
    """Whose channel has the bound of NATS."""

    def __init__(self) -> None:
        super().__init__()
        self.sizes: list[int] = []
        self._answer = self.channel.answer
        self.channel.answer = self.measured  # type: ignore[method-assign]

    async def measured(self, body: bytes) -> bytes:
        answer = await self._answer(body)
        self.sizes.append(len(answer))
        return answer


class Gathering(PlainEngine):
    """Each item gives a large instance; notes what the last step is given."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: dict[str, TaskOutput] = {}

    async def run(self, assignment: Assignment, reporter: Reporter) -> StepCompleted | StepFailed:
        if assignment.step == "sum":
            self.seen = assignment.outputs
            return await super().run(assignment, reporter)
        (task,) = assignment.definition.tasks_of(assignment.step)
        at: dict[str, Any] = {"step": assignment.step, "attempt": assignment.attempt}
        output = TaskOutput("an item", ITEM)
        await reporter.record(TaskCompleted(**at, task=task, output=output, duration_ms=1))
        return StepCompleted(**at)


async def test_a_maps_list_that_fits_no_message_reaches_a_later_step_whole() -> None:
    house, engine = Narrow(), Gathering()
    task = Task(description="Do it: {item}", expected_output="done", agent="writer")
    document = Definition(
        name="Gathering",
        inputs={"names": {"type": "array", "items": {"type": "string"}}},
        agents={"writer": WRITER},
        tasks={"one": task, "sum": replace(task, description="Sum up", context=("each",))},
        steps={
            "each": Step(map=Map(over="inputs.names", tasks=("one",))),
            "sum": Step(crew=Crew(tasks=("sum",)), after=("each",)),
        },
    )
    await house.start("x", document, names=[str(number) for number in range(ITEMS)])
    async with house.running(house.dispatcher().run(), house.runner("r", engine).run()):
        await eventually(ended(house, "x"), 30)
    assert (await house.state("x")).status is Status.COMPLETED
    (gathered,) = engine.seen.values()
    assert msgspec.json.decode(gathered.text) == [ITEM] * ITEMS
    assert max(house.sizes) <= MAX_REPLY_BYTES


async def test_an_entry_that_no_event_has_room_for_fails_the_step_with_what_it_is_and_the_bound() -> None:
    house = House()
    begun: list[int] = []

    class Large(PlainEngine):
        async def run(self, assignment: Assignment, reporter: Reporter) -> StepCompleted | StepFailed:
            begun.append(assignment.attempt)
            at: dict[str, Any] = {"step": assignment.step, "attempt": assignment.attempt}
            output = TaskOutput("an instance", "x" * 300_000)
            await reporter.record(TaskCompleted(**at, task="research", output=output, duration_ms=1))
            return StepCompleted(**at)

    await house.start("x", blog(), topic="tea")
    async with house.running(house.dispatcher().run(), house.runner("r", Large()).run()):
        await eventually(ended(house, "x"))
    end = (await house.state("x")).end
    assert isinstance(end, ExecutionFailed)
    assert end.failure.code == "report_too_large"
    assert "execution.task_completed has 300" in end.failure.message
    assert end.failure.message.endswith(f"an event may have {MAX_EVENT_BYTES}")
    assert begun == [1]
