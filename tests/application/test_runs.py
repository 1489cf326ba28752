"""The way of an execution without a driver: dispatched, claimed, run, reported, and what goes wrong on it."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import msgspec
import pytest

from application.channel_messages import Reply, Request
from application.contents import Part, digest_of
from application.ports import Assignment, Prior, Reporter
from domain.execution import (
    CancelExecution,
    Content,
    Journaled,
    ModelCallCompleted,
    RecordProgress,
    StartStep,
    Status,
    StepCompleted,
    StepFailed,
    TaskCompleted,
    TaskOutput,
    TaskStarted,
)
from domain.registry import event_of
from tests.application.house import ME, House, PlainEngine
from tests.domain.examples import blog, diamond
from tests.waiting import eventually


def ended(house: House, execution_id: str) -> Callable[[], Awaitable[bool]]:
    async def is_ended() -> bool:
        return not (await house.state(execution_id)).is_open

    return is_ended


async def test_an_execution_runs_to_its_end() -> None:
    house = House()
    await house.start("x", blog(), topic="tea")
    async with house.running(house.dispatcher().run(), house.runner("r", PlainEngine()).run()):
        await eventually(ended(house, "x"))
    assert (await house.state("x")).status is Status.COMPLETED
    assert event_of((await house.log.read_stream("execution-x"))[-1]).output.text == "edit done"  # type: ignore[attr-defined]


async def test_steps_side_by_side_run_on_two_runners() -> None:
    house = House()
    both = asyncio.Barrier(2)
    seen: dict[str, str] = {}

    def meeting(runner: str) -> PlainEngine:
        async def before(assignment: Assignment, task: str) -> None:
            seen[task] = runner
            if task in ("two", "three"):
                await both.wait()

        return PlainEngine(before)

    await house.start("x", diamond())
    runners = [house.runner(name, meeting(name), concurrency=1).run() for name in ("r1", "r2")]
    async with house.running(house.dispatcher().run(), *runners):
        await eventually(ended(house, "x"))
    assert {seen["two"], seen["three"]} == {"r1", "r2"}


async def test_cancelling_stops_the_engine_and_frees_the_runner() -> None:
    house = House()
    hangs = asyncio.Event()

    async def hang(assignment: Assignment, task: str) -> None:
        if assignment.execution_id == "x":
            hangs.set()
            await asyncio.Event().wait()

    await house.start("x", blog(), topic="tea")
    runner = house.runner("r", PlainEngine(hang), concurrency=1)
    async with house.running(house.dispatcher().run(), runner.run()):
        await hangs.wait()
        await house.commands.handle(CancelExecution(execution_id="x"), ME)
        await house.start("y", blog(), topic="tea")
        await eventually(ended(house, "y"))
    assert (await house.state("x")).status is Status.CANCELLED


async def test_runners_hear_of_an_end_only_where_steps_may_be_under_way() -> None:
    """Of a completed execution none is: each has reported its end."""
    house = House()
    await house.start("completed", blog(), topic="tea")
    async with house.running(house.dispatcher().run(), house.runner("r", PlainEngine()).run()):
        await eventually(ended(house, "completed"))
        await house.start("cancelled", blog(), topic="tea")
        await house.commands.handle(CancelExecution(execution_id="cancelled"), ME)
        await eventually(lambda: house.orders)
    assert house.orders == [("cancelled", "stop")]


async def test_heartbeats_keep_a_long_step() -> None:
    house = House(lease_s=0.2)

    async def slow(assignment: Assignment, task: str) -> None:
        await asyncio.sleep(0.3)

    await house.start("x", blog(), topic="tea")
    runners = [house.runner(name, PlainEngine(slow), heartbeat_s=0.05).run() for name in ("r1", "r2")]
    async with house.running(house.dispatcher().run(), *runners):
        await eventually(ended(house, "x"))
    assert (await house.state("x")).steps["crew"].attempt == 1


async def test_a_runner_that_is_told_to_stop_hands_its_step_back() -> None:
    house = House()
    begun = asyncio.Event()

    async def hang(assignment: Assignment, task: str) -> None:
        begun.set()
        await asyncio.Event().wait()

    await house.start("x", blog(), topic="tea")
    async with house.running(house.dispatcher().run()):
        async with house.running(house.runner("r1", PlainEngine(hang)).run()):
            await begun.wait()
        async with house.running(house.runner("r2", PlainEngine()).run()):
            await eventually(ended(house, "x"))
    assert (await house.state("x")).steps["crew"].runner == "r2"


async def test_an_engine_that_breaks_fails_the_execution_and_says_so() -> None:
    house = House()

    async def broken(assignment: Assignment, task: str) -> None:
        raise RuntimeError("secret prompt")

    await house.start("x", blog(), topic="tea")
    async with house.running(house.dispatcher().run(), house.runner("r", PlainEngine(broken)).run()):
        await eventually(ended(house, "x"))
    last = event_of((await house.log.read_stream("execution-x"))[-1])
    assert last.failure.code == "engine_failed"  # type: ignore[attr-defined]
    assert "secret" not in last.failure.message  # type: ignore[attr-defined]


async def test_a_lost_queue_is_filled_again() -> None:
    house = House()
    await house.start("x", blog(), topic="tea")
    async with house.running(house.dispatcher().run()):
        assert await has_work(house)
        await house.queue.lose()
        async with house.running(house.runner("r", PlainEngine()).run()):
            await eventually(ended(house, "x"))


async def has_work(house: House) -> bool:
    delivery = await house.queue.take(("default",), timeout_s=5)
    if delivery:
        await delivery.hand_back()
    return delivery is not None


async def test_after_a_restart_of_everything_orphans_run_at_once() -> None:
    house = House(lease_s=3600)
    claim = StartStep(execution_id="x", step="crew", turn=1, delivery=1, runner="dead")
    await house.start("x", blog(), topic="tea")
    await ask(house, claim, "dead")
    dispatcher = house.dispatcher(runners_are_gone=True)
    async with house.running(dispatcher.run(), house.runner("r", PlainEngine()).run()):
        await eventually(ended(house, "x"))
    step = (await house.state("x")).steps["crew"]
    assert (step.turn, step.delivery, step.attempt) == (1, 2, 2)


async def test_what_was_given_to_a_runner_and_not_claimed_runs_at_once_after_a_restart_of_everything() -> (
    None
):
    house = House(lease_s=3600)
    await house.start("x", blog(), topic="tea")
    async with house.running(house.dispatcher().run()):
        assert await house.queue.take(("default",), timeout_s=60)
    dispatcher = house.dispatcher(runners_are_gone=True)
    async with house.running(dispatcher.run(), house.runner("r", PlainEngine()).run()):
        await eventually(ended(house, "x"))
    assert (await house.state("x")).steps["crew"].attempt == 1


async def ask(house: House, command: StartStep | RecordProgress, runner: str, *contents: Part) -> Reply:
    request = Request(runner=runner, command=command, contents=contents)
    answer = await house.channel.answer(msgspec.json.encode(request))
    return msgspec.json.decode(answer, type=Reply)


async def test_a_claim_and_a_report_may_come_twice() -> None:
    house = House()
    await house.start("x", blog(), topic="tea")
    claim = StartStep(execution_id="x", step="crew", turn=1, delivery=1, runner="r")
    assert await ask(house, claim, "r") == await ask(house, claim, "r")
    begun = TaskStarted(step="crew", attempt=1, task="research", agent="researcher")
    report = RecordProgress(execution_id="x", step="crew", attempt=1, after=0, entries=(begun,))
    assert await ask(house, report, "r") == await ask(house, report, "r") == Reply()
    assert await house.log.head() == 5


async def test_what_nobody_waits_for_goes_along_with_the_next_report() -> None:
    house = House()

    class Swift(PlainEngine):
        async def run(self, assignment: Assignment, reporter: Reporter) -> StepCompleted | StepFailed:
            at: dict[str, Any] = {"step": assignment.step, "attempt": assignment.attempt}
            for task in assignment.definition.tasks_of(assignment.step):
                await reporter.record(TaskStarted(**at, task=task, agent="any"), wait=False)
                completed = TaskCompleted(**at, task=task, output=TaskOutput(task), duration_ms=0)
                await reporter.record(completed, wait=False)
            return StepCompleted(**at)

    await house.start("x", blog(), topic="tea")
    async with house.running(house.dispatcher().run(), house.runner("r1", Swift()).run()):
        await eventually(ended(house, "x"))
    events = await house.log.read_stream("execution-x")
    tasks = len(blog().tasks)
    assert [event.tag for event in events].count("execution.task_completed") == tasks
    commands = [event.metadata.command_id for event in events[3:]]
    assert len(commands) == 2 * tasks + 2
    assert len(set(commands)) == 1


async def test_what_nobody_waits_for_is_sent_though_nothing_follows() -> None:
    house = House()

    class Slow(PlainEngine):
        async def run(self, assignment: Assignment, reporter: Reporter) -> StepCompleted | StepFailed:
            at: dict[str, Any] = {"step": assignment.step, "attempt": assignment.attempt}
            await reporter.record(TaskStarted(**at, task="research", agent="any"), wait=False)
            await asyncio.Event().wait()
            return StepCompleted(**at)

    await house.start("x", blog(), topic="tea")
    async with house.running(house.dispatcher().run(), house.runner("r1", Slow()).run()):
        await eventually(lambda: recorded_tags(house, "execution.task_started"))


async def recorded_tags(house: House, tag: str) -> bool:
    return any(event.tag == tag for event in await house.log.read_all(0, 100))


@pytest.mark.parametrize(
    "body", [b"", b"{", b"[]", b'{"runner": "r", "command": {"type": "CancelExecution"}}']
)
async def test_what_is_no_request_is_refused(body: bytes) -> None:
    assert b"unreadable request" in await House().channel.answer(body)


def model_call(call: str, text: str, *, attempt: int = 1, is_truncated: bool = False) -> ModelCallCompleted:
    return ModelCallCompleted(
        step="crew",
        attempt=attempt,
        call=call,
        model="demo/small",
        response=Content(digest_of(text.encode()), len(text.encode()), text, is_truncated),
        prompt_tokens=1,
        completion_tokens=1,
        cost_usd=0,
        duration_ms=1,
    )


async def test_a_second_attempt_gets_the_journal_of_the_first_whole_and_in_order() -> None:
    house = House(lease_s=0.1)
    calls = [model_call(f"c{number}", str(number) * 100_000) for number in range(9)]
    lost = model_call("part", "", is_truncated=True)
    got: list[tuple[Journaled | Prior, ...]] = []

    class Reading(PlainEngine):
        async def run(self, assignment: Assignment, reporter: Reporter) -> StepCompleted | StepFailed:
            got.append(assignment.journal)
            if assignment.attempt == 1:
                for call in (*calls, lost):
                    await reporter.record(call)
                await asyncio.Event().wait()
            return await super().run(assignment, reporter)

    await house.start("x", blog(), topic="tea")
    dead = house.runner("r1", Reading(), heartbeat_s=3600, concurrency=1)
    async with house.running(house.dispatcher().run(), dead.run()):
        await eventually(lambda: recorded_calls(house, 10))
        async with house.running(house.runner("r2", Reading()).run()):
            await eventually(ended(house, "x"))
    assert got == [(), (*calls, lost)]


async def recorded_calls(house: House, count: int) -> bool:
    return sum(isinstance(event_of(e), ModelCallCompleted) for e in await house.log.read_all(0, 100)) == count
