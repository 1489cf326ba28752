"""Budgets: what is spent, reserved and refused."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from domain.amounts import Amounts
from domain.definition import Limits
from domain.errors import Draining, Invalid, Rejected
from domain.execution import (
    EXECUTION,
    BudgetRaised,
    Content,
    Estimate,
    ExecutionCancelled,
    ExecutionFailed,
    ExecutionRequested,
    ModelCallCompleted,
    ModelCallFailed,
    ModelCallStarted,
    RaiseBudget,
    RecordProgress,
    RetryExecution,
    Status,
    StepScheduled,
    StepStarted,
    StepSuspended,
    TaskStarted,
    ToolCallStarted,
)
from domain.execution.values import Failure
from domain.limits import Budget
from tests.domain.examples import blog
from tests.domain.spec import Spec

TEXT = Content("d", 1, "?")
AT: dict[str, Any] = {"step": "crew", "attempt": 1}
NANO = 1_000_000_000


def running(**limits: Any) -> Spec[Any]:
    """An execution under way, with such limits."""
    return Spec(EXECUTION).given(
        ExecutionRequested(name="run", definition=blog(limits=Limits(**limits)), inputs={}, models={}),
        StepScheduled(step="crew", turn=1),
        StepStarted(step="crew", turn=1, delivery=1, attempt=1, runner="r1"),
    )


def asks(call: str, tokens: int = 100, cost_usd: float | None = 0.10) -> ModelCallStarted:
    return ModelCallStarted(**AT, call=call, model="a/b", request=TEXT, estimate=Estimate(tokens, cost_usd))


def answered(call: str, tokens: int = 50, cost_usd: float = 0.05) -> ModelCallCompleted:
    return ModelCallCompleted(
        **AT,
        call=call,
        model="a/b",
        response=TEXT,
        prompt_tokens=tokens - 1,
        completion_tokens=1,
        cost_usd=cost_usd,
        duration_ms=1,
    )


def failed(call: str) -> ModelCallFailed:
    return ModelCallFailed(**AT, call=call, failure=Failure("timeout", "late"), duration_ms=1)


def tool(call: str) -> ToolCallStarted:
    return ToolCallStarted(**AT, call=call, tool="calculator", arguments=TEXT)


def report(*entries: Any, after: int = 0) -> RecordProgress:
    return RecordProgress(execution_id="x", **AT, after=after, entries=entries)


def suspended(sentence: Spec[Any], command: RecordProgress) -> StepSuspended:
    (event, *_) = sentence.when(command).decided()
    assert isinstance(event, StepSuspended), event
    assert event.wait.kind == "budget"
    return event


def test_a_call_that_fits_is_made() -> None:
    running(budget_usd=0.10, max_tokens=100, max_model_calls=1).when(report(asks("1"))).then(asks("1"))


@pytest.mark.parametrize(
    ("limits", "why"),
    [
        ({"budget_usd": 0.15}, "budget_usd is 0.15; with this call it would come to 0.2"),
        ({"max_tokens": 199}, "max_tokens is 199; with this call it would come to 200"),
        ({"max_model_calls": 1}, "max_model_calls is 1; with this call it would come to 2"),
    ],
)
def test_a_call_beside_one_under_way_has_to_fit_too(limits: dict[str, Any], why: str) -> None:
    event = suspended(running(**limits).given(asks("1")), report(asks("2"), after=1))
    assert event.wait.message == f"a call of a/b is not made: {why}"
    assert event.refused == 1


def test_two_calls_of_one_report_have_to_fit_together() -> None:
    suspended(running(budget_usd=0.15), report(asks("1"), asks("2")))


def test_what_was_reserved_too_much_is_given_back() -> None:
    sentence = running(budget_usd=0.15).given(asks("1"), answered("1"))
    assert sentence.state().account.spent == Amounts(50_000_000, 50, 1)
    sentence.when(report(asks("2"), after=2)).then(asks("2"))


def test_an_answer_in_the_same_report_is_settled_first() -> None:
    entries = (asks("2"), answered("1"))
    running(budget_usd=0.15).given(asks("1")).when(report(*entries, after=1)).then(*entries)


def test_a_failed_call_gives_back_its_money_but_not_its_turn() -> None:
    sentence = running(budget_usd=0.15, max_model_calls=2).given(asks("1"), failed("1"))
    sentence.when(report(asks("2"), after=2)).then(asks("2"))
    suspended(sentence.given(asks("2"), failed("2")), report(asks("3"), after=4))


def test_a_call_that_was_lost_with_its_runner_stays_reserved_until_it_is_made_again() -> None:
    lost = running(budget_usd=0.15).given(
        asks("1"), StepStarted(step="crew", turn=1, delivery=2, attempt=2, runner="r2")
    )
    assert lost.state().account.committed.nano_usd == 100_000_000
    again = ModelCallStarted(
        step="crew", attempt=2, call="1", model="a/b", request=TEXT, estimate=Estimate(100, 0.10)
    )
    command = RecordProgress(execution_id="x", step="crew", attempt=2, after=0, entries=(again,))
    lost.when(command).then(again)
    assert lost.given(again).state().account.committed.nano_usd == 100_000_000


def test_tool_calls_are_counted_apart() -> None:
    sentence = running(max_tool_calls=1, max_model_calls=1).given(asks("1"), tool("2"))
    assert "a call of calculator" in suspended(sentence, report(tool("3"), after=2)).wait.message


def test_what_had_been_begun_before_a_refusal_is_recorded() -> None:
    begun = running(budget_usd=0.15).given(asks("1"), asks("0", 0, 0))
    beginnings = TaskStarted(**AT, task="draft", agent="writer"), asks("2", 100, 0.14)
    command = report(beginnings[0], beginnings[1], answered("1"), after=2)
    event, *rest = begun.when(command).decided()
    assert rest == [answered("1")]
    assert isinstance(event, StepSuspended)
    assert event.refused == 2
    with pytest.raises(Draining):
        begun.given(event, *rest).when(report(asks("3"), after=5)).decided()


def test_a_workflow_may_fail_in_place_of_waiting() -> None:
    sentence = running(budget_usd=0.15, on_exceeded="fail").given(asks("1"))
    recorded, end = sentence.when(report(asks("2", 100, 0.14), answered("1"), after=1)).decided()
    assert recorded == answered("1")
    assert isinstance(end, ExecutionFailed)
    assert (end.failure.code, end.step) == ("budget_exceeded", "crew")


@pytest.mark.parametrize("estimate", [None, Estimate(100)])
def test_a_budget_in_money_can_not_be_held_for_a_model_without_a_price(estimate: Estimate | None) -> None:
    call = ModelCallStarted(**AT, call="1", model="a/b", request=TEXT, estimate=estimate)
    (end,) = running(budget_usd=1).when(report(call)).decided()
    assert isinstance(end, ExecutionFailed)
    assert end.failure.code == "model_unpriced"
    running(max_tokens=100).when(report(call)).then(call)


def waiting(**limits: Any) -> Spec[Any]:
    sentence = running(**limits).given(asks("1"), answered("1", cost_usd=0.1))
    return sentence.given(*sentence.when(report(asks("2"), after=2)).decided())


def raise_to(**limits: Any) -> RaiseBudget:
    return RaiseBudget(execution_id="x", budget=Budget(**limits))


def test_a_raised_budget_lets_the_step_go_on() -> None:
    raised = BudgetRaised(budget=Budget(budget_usd=0.5, max_tokens=1000))
    again = StepScheduled(step="crew", turn=2, reason="its budget was raised")
    sentence = waiting(budget_usd=0.15, max_tokens=1000)
    sentence.when(raise_to(budget_usd=0.5)).then(raised, again)
    started = StepStarted(step="crew", turn=2, delivery=1, attempt=2, runner="r1")
    assert sentence.given(raised, again, started).state().budget.budget_usd == 0.5


def test_a_budget_is_tried_again_as_it_is() -> None:
    again = StepScheduled(step="crew", turn=2, reason="its budget was raised")
    waiting(budget_usd=0.15).when(raise_to()).then(again)


def test_a_budget_is_raised_before_anything_waits() -> None:
    running(max_tokens=100).when(raise_to(max_tokens=200)).then(BudgetRaised(budget=Budget(max_tokens=200)))
    running(max_tokens=100).when(raise_to(max_tokens=100)).then_nothing()


def test_a_budget_is_not_lowered_and_no_limit_is_invented() -> None:
    with pytest.raises(Invalid) as error:
        running(max_tokens=100).when(raise_to(max_tokens=99, budget_usd=1)).decided()
    assert [fault.pointer for fault in error.value.faults] == ["/budget_usd", "/max_tokens"]


def test_what_failed_of_its_budget_is_given_more_before_it_is_retried() -> None:
    sentence = running(max_model_calls=1, on_exceeded="fail").given(asks("1"), answered("1"))
    ended = sentence.given(*sentence.when(report(asks("2"), after=2)).decided())
    raised = BudgetRaised(budget=Budget(max_model_calls=2))
    ended.when(raise_to(max_model_calls=2)).then(raised)
    retried = ended.given(raised)
    assert retried.state().status is Status.FAILED
    again = retried.given(*retried.when(RetryExecution(execution_id="x")).decided())
    started = StepStarted(step="crew", turn=2, delivery=1, attempt=2, runner="r1")
    call = msgspec.structs.replace(asks("2"), attempt=2)
    later = RecordProgress(execution_id="x", step="crew", attempt=2, after=0, entries=(call,))
    again.given(started).when(later).then(call)


def test_the_budget_of_an_ended_execution_stays() -> None:
    running(max_tokens=1).given(ExecutionCancelled()).when(raise_to()).then_refused(Rejected, "cancelled")


CALLS = st.lists(
    st.tuples(
        st.integers(0, 400),  # tokens estimated
        st.integers(0, 300_000_000),  # nano-dollars estimated
        st.floats(0, 1),  # how much of the estimate it comes to
        st.booleans(),  # whether it is answered, and not failed
        st.integers(0, 4),  # how many reports later
    ),
    max_size=40,
)


@settings(max_examples=200, deadline=None)
@given(CALLS, st.integers(1, 2_000), st.integers(1, 1_000_000_000), st.integers(1, 30))
def test_calls_that_are_under_way_together_never_overshoot(
    calls: list[tuple[int, int, float, bool, int]], tokens: int, nano_usd: int, count: int
) -> None:
    """As long as no call comes to more than was reserved for it, whatever the order of the answers."""
    sentence = running(max_tokens=tokens, budget_usd=nano_usd / NANO, max_model_calls=count)
    state, recorded = sentence.state(), 0
    answers: dict[int, list[Any]] = {}
    paid_nano = paid_tokens = 0
    for number, (estimated, nano, part, is_answered, later) in enumerate(calls):
        call = str(number)
        end = answered(call, max(1, int(estimated * part)), int(nano * part) / NANO)
        due = answers.pop(number, [])
        command = report(asks(call, max(1, estimated), nano / NANO), *due, after=recorded)
        events = EXECUTION.decide(state, command)
        for event in events:
            state = EXECUTION.evolve(state, event)
            if isinstance(event, ModelCallCompleted):
                paid_nano += round(event.cost_usd * NANO)
                paid_tokens += event.prompt_tokens + event.completion_tokens
        assert paid_nano <= nano_usd
        assert paid_tokens <= tokens
        assert state.account.committed.model_calls <= count
        assert state.account.committed.tokens <= tokens
        if isinstance(events[0], StepSuspended):
            return
        recorded += len(events)
        answers.setdefault(number + 1 + later, []).append(end if is_answered else failed(call))
