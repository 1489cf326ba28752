"""When an execution can be erased, and what can be done to it then."""

from __future__ import annotations

import pytest

from domain.errors import NotFound, Rejected
from domain.execution import (
    EXECUTION,
    CancelExecution,
    EraseExecution,
    Execution,
    ExecutionErased,
    RetryExecution,
    Status,
    TimeOutExecution,
)

ERASE = EraseExecution(execution_id="e", reason="asked for it")
ENDED = Execution(status=Status.FAILED)
ERASED = EXECUTION.evolve(ENDED, ExecutionErased(reason="asked for it"))


@pytest.mark.parametrize("status", [status for status in Status if status.is_terminal])
def test_what_has_ended_is_erased(status: Status) -> None:
    assert EXECUTION.decide(Execution(status=status), ERASE) == (ExecutionErased(reason="asked for it"),)


@pytest.mark.parametrize("status", [status for status in Status if not status.is_terminal])
def test_what_is_under_way_is_cancelled_first(status: Status) -> None:
    with pytest.raises(Rejected, match="cancel it first"):
        EXECUTION.decide(Execution(status=status), ERASE)


def test_what_comes_late_is_passed_over() -> None:
    assert EXECUTION.decide(ERASED, TimeOutExecution(execution_id="e", spent_s=9)) == ()


def test_erasing_twice_changes_nothing() -> None:
    assert EXECUTION.decide(ERASED, ERASE) == ()


def test_what_is_not_there_is_not_erased() -> None:
    with pytest.raises(NotFound):
        EXECUTION.decide(Execution(), ERASE)


@pytest.mark.parametrize("command", [RetryExecution(execution_id="e"), CancelExecution(execution_id="e")])
def test_nothing_can_be_done_to_what_was_erased(command: RetryExecution | CancelExecution) -> None:
    with pytest.raises(Rejected, match="was erased"):
        EXECUTION.decide(ERASED, command)


def test_an_erased_execution_keeps_its_status() -> None:
    assert ERASED.status is Status.FAILED
    assert ERASED.is_erased
