"""Queue, priority and concurrency of an execution: pinned at its start, kept by every step."""

from __future__ import annotations

import pytest

from domain.definition import Concurrency, Definition
from domain.execution import (
    EXECUTION,
    AdmitExecution,
    ExecutionAdmitted,
    ExecutionCancelled,
    ExecutionHeld,
    ExecutionRetried,
    ExecutionTimedOut,
    RequestExecution,
    RescheduleStep,
    RetryExecution,
    StepScheduled,
    StepStarted,
)
from tests.domain.examples import blog
from tests.domain.spec import Spec

spec = Spec(EXECUTION)
admit = AdmitExecution(execution_id="x")


def request(definition: Definition, **changes: object) -> RequestExecution:
    fields: dict[str, object] = {"name": "run", "inputs": {"topic": "tea", "tone": "dry"}, "models": {}}
    return RequestExecution(execution_id="x", definition=definition, **{**fields, **changes})  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("given", "place"),
    [({}, ("gpu", 7)), ({"queue": "default"}, ("default", 7)), ({"priority": 0}, ("gpu", 0))],
)
def test_a_start_goes_before_its_document(given: dict[str, object], place: tuple[str, int]) -> None:
    requested, scheduled = spec.when(request(blog(queue="gpu", priority=7), **given)).decided()
    again = RescheduleStep(execution_id="x", step="crew", turn=1, reason="lost")
    (later,) = spec.given(requested, scheduled).when(again).decided()
    for event in (scheduled, later):
        assert isinstance(event, StepScheduled)
        assert (event.queue, event.priority) == place


def held(definition: Definition, **changes: object) -> tuple[ExecutionHeld, Spec]:  # type: ignore[type-arg]
    requested, event = spec.when(request(definition, **changes)).decided()
    assert isinstance(event, ExecutionHeld)
    return event, spec.given(requested, event)


def test_with_a_limit_nothing_is_scheduled_before_it_is_admitted() -> None:
    event, sentence = held(blog(concurrency=Concurrency(limit=3), priority=8))
    assert (event.limit, event.priority, event.key) == (3, 8, "")
    scheduled = StepScheduled(step="crew", turn=1, priority=8)
    sentence.when(admit).then(ExecutionAdmitted(), scheduled)
    sentence.given(ExecutionAdmitted(), scheduled).when(admit).then_nothing()


def test_what_has_ended_is_not_admitted() -> None:
    _, sentence = held(blog(concurrency=Concurrency(limit=1)))
    sentence.given(ExecutionCancelled()).when(admit).then_nothing()
    spec.when(admit).then_nothing()


def test_slots_are_shared_by_workflow_and_key() -> None:
    keyed = blog(concurrency=Concurrency(limit=1, key="{topic} {tone}"))
    first, _ = held(keyed, workflow_id="w")
    assert first.key == "tea dry"
    same, _ = held(blog(name="Renamed", concurrency=keyed.concurrency), workflow_id="w")
    other_key, _ = held(keyed, workflow_id="w", inputs={"topic": {"b": 1, "a": 2}, "tone": "dry"})
    other_workflow, _ = held(keyed, workflow_id="v")
    inline, _ = held(keyed)
    assert same.slots_id == first.slots_id
    assert other_key.key == '{"a":2,"b":1} dry'
    assert len({each.slots_id for each in (first, other_key, other_workflow, inline)}) == 4


def test_a_retried_execution_asks_for_a_slot_again_before_anything_of_it_begins() -> None:
    event, sentence = held(blog(concurrency=Concurrency(limit=3)))
    failed = sentence.given(
        ExecutionAdmitted(),
        StepScheduled(step="crew", turn=1),
        StepStarted(step="crew", turn=1, delivery=1, attempt=1, runner="r1"),
        ExecutionTimedOut(timeout_s=1),
    )
    failed.when(RetryExecution(execution_id="x")).then(ExecutionRetried(), event)
    again = StepScheduled(step="crew", turn=2)
    failed.given(ExecutionRetried(), event).when(admit).then(ExecutionAdmitted(), again)
