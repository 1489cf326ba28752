"""What children may spend: no more than their parent has left, together."""

from __future__ import annotations

from typing import Any

from msgspec.structs import replace

from domain.amounts import Amounts
from domain.definition import Definition
from domain.execution import (
    ChildRequested,
    ChildTold,
    ExecutionFailed,
    RaiseBudget,
    RetryExecution,
    StepSuspended,
)
from domain.limits import Budget
from tests.domain.flows import Run, child, crew, flow


def wanted(step: str, **limits: Any) -> ChildRequested:
    return ChildRequested(
        step=step, child=f"1-{step}", workflow_id="blog", workflow_version=1, budget=Budget(**limits)
    )


def budgeted(budget: Budget, **steps: Any) -> Definition:
    document = flow(**steps)
    values = {name: getattr(budget, name) for name in Budget.__struct_fields__}
    return replace(document, limits=replace(document.limits, **values))


def test_a_child_may_spend_what_is_left() -> None:
    document = budgeted(Budget(max_tokens=100), one=child(), a=crew("a", ("one",)))
    run = Run(document, budgets={"one": Budget(max_model_calls=3)})
    assert run.events[1] == wanted("one", max_tokens=100, max_model_calls=3)
    assert run.state.account.committed.tokens == 100
    run.ended("1-one", spent=Amounts(tokens=30))
    assert run.state.account.committed.tokens == 30


def test_children_beside_each_other_share_it() -> None:
    document = budgeted(
        Budget(max_tokens=100), one=child(budget=Budget(max_tokens=60)), two=child(), a=crew("a")
    )
    assert Run(document).events[3] == wanted("two", max_tokens=40)


def test_one_that_nothing_is_left_for_waits_until_another_has_ended() -> None:
    run = Run(budgeted(Budget(max_tokens=100), one=child(), two=child(), a=crew("a", ("one", "two"))))
    assert isinstance(suspended := run.events[-1], StepSuspended)
    assert suspended.wait.kind == "budget"
    assert suspended.wait.message == (
        "the child is not begun: max_tokens is 100; nothing is left of it "
        "(1 child under way may give some back)"
    )
    events = run.ended("1-one", spent=Amounts(tokens=30))
    assert events[-2] == wanted("two", max_tokens=70)


def test_or_it_fails_where_the_document_says_so() -> None:
    document = budgeted(Budget(max_tokens=100), one=child(), two=child(), a=crew("a"))
    run = Run(replace(document, limits=replace(document.limits, on_exceeded="fail")))
    assert isinstance(failed := run.events[-2], ExecutionFailed)
    assert failed.failure.code == "budget_exceeded"
    assert run.events[-1] == ChildTold(step="one", child="1-one", order="cancel")


def test_a_budget_that_is_raised_lets_a_child_begin() -> None:
    run = Run(budgeted(Budget(max_tokens=100), one=child(), two=child(), a=crew("a", ("one", "two"))))
    raised = run.send(RaiseBudget(execution_id="x", budget=Budget(max_tokens=150)))
    assert raised[1] == wanted("two", max_tokens=50)


def test_a_child_that_is_retried_reserves_what_it_has_not_spent() -> None:
    run = Run(budgeted(Budget(max_tokens=100), one=child(), a=crew("a", ("one",))))
    run.ended("1-one", "failed", spent=Amounts(tokens=30))
    run.send(RetryExecution(execution_id="x"))
    assert run.state.account.committed.tokens == 100
    run.ended("1-one", run=1, spent=Amounts(tokens=50))
    assert run.state.account.committed.tokens == 50


def test_what_a_person_let_a_child_spend_beyond_counts_all_the_same() -> None:
    run = Run(budgeted(Budget(max_tokens=100), one=child(), a=crew("a", ("one",))))
    run.ended("1-one", spent=Amounts(tokens=130))
    assert run.state.account.committed.tokens == 130
