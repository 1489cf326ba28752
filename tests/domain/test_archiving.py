"""What has ended leaves the read tables, and nothing happens to it any more."""

from __future__ import annotations

import pytest
from msgspec.structs import replace

from domain.definition import Limits
from domain.errors import NotFound, Rejected
from domain.execution import (
    EXECUTION,
    ArchivedFile,
    ArchiveExecution,
    EraseExecution,
    Execution,
    ExecutionArchived,
    ExecutionCancelled,
    ExecutionErased,
    ExecutionFailed,
    Failure,
    RaiseBudget,
    RetryExecution,
    Status,
    TimeOutExecution,
)
from domain.execution.children import ChildState
from domain.limits import Budget
from domain.message import Event
from tests.domain.examples import blog
from tests.domain.test_execution import begun, report, requested, running, scheduled, spec, started

FILE = ArchivedFile("2026-08/x.ndjson", "a" * 64, 10)
DROP = ArchiveExecution(execution_id="x")
WRITTEN = ArchiveExecution(execution_id="x", place="/archive", files=(FILE,))
dropped = ExecutionArchived()
written = ExecutionArchived(place="/archive", files=(FILE,))
failed = ExecutionFailed(failure=Failure("timeout", "no answer"))


@pytest.mark.parametrize("end", [ExecutionCancelled(), failed])
def test_what_has_ended_is_archived_once(end: Event) -> None:
    ended = running.given(end)
    ended.when(DROP).then(dropped)
    ended.when(WRITTEN).then(written)
    ended.given(written).when(WRITTEN).then_nothing()
    ended.given(written).when(DROP).then_nothing()
    ended.given(dropped).when(DROP).then_nothing()


def test_what_was_only_dropped_may_still_be_written_to_files() -> None:
    running.given(failed, dropped).when(WRITTEN).then(written)


def test_files_are_never_put_in_place_of_files() -> None:
    other = ArchiveExecution(execution_id="x", place="/other", files=(ArchivedFile("y", "b" * 64, 1),))
    running.given(failed, written).when(other).then_refused(Rejected, "archived already, in /archive")


def test_what_goes_on_is_not_archived() -> None:
    running.when(DROP).then_refused(Rejected, "not allowed while running")
    spec.when(DROP).then_refused(NotFound, "no execution 'x'")
    spec.given(requested, scheduled).when(DROP).then_refused(Rejected, "not allowed while pending")


def test_nothing_happens_to_what_is_archived() -> None:
    limited = replace(requested, definition=blog(limits=Limits(budget_usd=1.0)))
    archived = spec.given(limited, scheduled, started, failed, dropped)
    archived.when(RetryExecution(execution_id="x")).then_refused(Rejected, "not allowed while archived")
    archived.when(report(begun)).then_refused(Rejected, "not allowed while failed")
    raised = RaiseBudget(execution_id="x", budget=Budget(budget_usd=2.0))
    archived.when(raised).then_refused(Rejected, "RaiseBudget is not allowed while archived")


def test_what_is_archived_can_still_be_erased_and_what_comes_late_is_passed_over() -> None:
    archived = running.given(failed, dropped)
    erased = ExecutionErased(reason="asked for it")
    archived.when(EraseExecution(execution_id="x", reason="asked for it")).then(erased)
    archived.given(erased).when(WRITTEN).then(written)
    archived.when(TimeOutExecution(execution_id="x", spent_s=9)).then_nothing()


def test_a_parent_is_archived_after_its_children() -> None:
    child = ChildState(step="sub")
    parent = Execution(status=Status.FAILED, children={"sub": child})
    with pytest.raises(Rejected, match="its child 'sub' is not known to have ended"):
        EXECUTION.decide(parent, DROP)
