"""What a lane and the texts of its reports promise, without CrewAI."""

from __future__ import annotations

import asyncio
import json
from hashlib import sha256

import pytest

from application.ports import Stopped
from domain.execution import Failure, Progress, TaskOutput, TaskStarted
from infrastructure.crew.contents import clean_json, clean_text, content_of, output_failure
from infrastructure.crew.lanes import CallFailed, Lane, StepRun
from infrastructure.crew.occurrences import Occurrences
from tests.infrastructure.crew.crews import MemoryReporter, assignment, three_tasks

MARK = TaskStarted(step="crew", attempt=1, task="t", agent="a")


def call(lane: Lane, request: object, act: object = None) -> str:
    """The id of a call that does what `act` says, or nothing."""
    ids: list[str] = []

    def note(call: str, *_: object) -> Progress:
        ids.append(call)
        return MARK

    lane.call(
        "model",
        request,
        recall=note,  # type: ignore[arg-type]
        started=note,
        act=act or (lambda _: None),  # type: ignore[arg-type]
        completed=note,
        failed=note,
    )
    return ids[0]


def fail(_: str) -> None:
    raise CallFailed(Failure("unavailable", "try again"))


@pytest.fixture
async def lane() -> Lane:
    return Lane(StepRun(assignment(three_tasks()), MemoryReporter()), "draft", "writer")


async def test_equal_requests_are_numbered_and_others_are_not(lane: Lane) -> None:
    first, second = [await asyncio.to_thread(call, lane, {"a": 1, "b": 2}) for _ in range(2)]
    other = await asyncio.to_thread(call, lane, {"a": 2})
    assert first.startswith("draft:model:")
    assert first.endswith(":1")
    assert second == first[:-1] + "2"
    assert other.endswith(":1")


async def test_the_id_of_a_request_does_not_depend_on_the_order_of_its_fields(lane: Lane) -> None:
    one = await asyncio.to_thread(call, lane, {"a": 1, "b": 2})
    other = await asyncio.to_thread(call, lane, {"b": 2, "a": 1})
    assert one.split(":")[2] == other.split(":")[2]


async def test_a_call_that_failed_gives_its_number_back(lane: Lane) -> None:
    with pytest.raises(CallFailed):
        await asyncio.to_thread(call, lane, "same", fail)
    assert (await asyncio.to_thread(call, lane, "same")).endswith(":1")


async def test_a_report_from_the_event_loop_itself_is_refused_instead_of_waiting_for_ever(lane: Lane) -> None:
    with pytest.raises(RuntimeError, match="event loop"):
        lane.run.record_from_thread(MARK)


async def test_after_the_end_nothing_is_reported_from_any_thread(lane: Lane) -> None:
    await lane.run.end()
    with pytest.raises(Stopped):
        await asyncio.to_thread(call, lane, "late")
    with pytest.raises(Stopped):
        await lane.run.record(MARK)
    with pytest.raises(Stopped):
        lane.run.tokens("call", "late")


def test_the_lowest_free_number_is_claimed() -> None:
    numbers = Occurrences()
    assert [numbers.claim("k") for _ in range(3)] == [1, 2, 3]
    numbers.release("k", 2)
    assert [numbers.claim("k"), numbers.claim("k"), numbers.claim("other")] == [2, 4, 1]


def test_a_text_of_a_call_has_the_digest_of_what_is_stored() -> None:
    content = content_of("gr\0n ☃")
    assert (content.text, content.size_bytes) == ("gr\ufffdn ☃", 10)
    assert content.digest == sha256(content.text.encode()).hexdigest()


def test_what_json_or_a_database_lacks_is_replaced_or_refused() -> None:
    assert clean_text("a\0b\ud800c") == "a\ufffdb\ufffdc"
    assert clean_json({"\0": ["\udfff", 1, None, True, 0.5]}) == {"\ufffd": ["\ufffd", 1, None, True, 0.5]}
    for number in (float("nan"), float("inf"), 2**63, -(2**63) - 1):
        with pytest.raises(ValueError, match=r"number|integer"):
            clean_json([number])


def test_an_output_has_a_bound_as_text_and_as_json() -> None:
    assert output_failure("t", TaskOutput("a" * 2**24)) is None
    for output in (TaskOutput("a" * (2**24 + 1)), TaskOutput("a", json.loads('["' + "b" * 260_000 + '"]'))):
        failure = output_failure("t", output)
        assert failure is not None
        assert failure.code == "output_too_large"
