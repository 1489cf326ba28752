"""What each event changes of what a list and a page of one execution both say of it.

Used by `execution_list.py` and `execution_detail.py`, which add their own.
"""

from __future__ import annotations

from collections.abc import Callable

from domain.execution import (
    ApprovalRejected,
    CallReused,
    CallSettled,
    ChildEnded,
    ExecutionAdmitted,
    ExecutionCancelled,
    ExecutionCompleted,
    ExecutionErased,
    ExecutionFailed,
    ExecutionHeld,
    ExecutionPaused,
    ExecutionResumed,
    ExecutionRetried,
    ExecutionTimedOut,
    ModelCallCompleted,
    ModelCallStarted,
    Status,
    StepCompleted,
    StepFailed,
    StepResolved,
    StepScheduled,
    StepStarted,
    StepSuspended,
    ToolCallStarted,
    Wait,
    child_execution_id,
)
from domain.execution.children import child_of_wait
from domain.message import tag_of
from projections.money import usd, usd_of
from projections.projection import Fact, milliseconds_between
from projections.summary_fields import ExecutionSummary, OpenWait


def change(row: ExecutionSummary, fact: Fact) -> None:
    """One more event. Most are only counted, and not even decoded."""
    row.version, row.position = fact.version, fact.position
    if (changed := CHANGES.get(fact.tag)) is not None:
        changed(row, fact)


def scheduled(row: ExecutionSummary, fact: Fact) -> None:
    activate(row, fact.of(StepScheduled).step)
    if row.status not in (Status.RUNNING, Status.PAUSED):
        row.status = Status.PENDING


def started(row: ExecutionSummary, fact: Fact) -> None:
    activate(row, fact.of(StepStarted).step)
    row.status, row.started_at = Status.RUNNING, row.started_at or fact.at


def suspended(row: ExecutionSummary, fact: Fact) -> None:
    event, wait = (found := fact.of(StepSuspended)), found.wait
    settle(row, event.step)
    row.waits += [
        OpenWait(step=event.step, kind=wait.kind, id=name, message=wait.message, since=fact.at)
        for name in wait_ids(wait, fact)
    ]
    rest(row)


def wait_ids(wait: Wait, fact: Fact) -> tuple[str, ...]:
    if wait.kind == "child":
        return (child_execution_id(fact.entity_id, child_of_wait(wait.id)),)
    return (wait.id, *wait.others)


def child_ended(row: ExecutionSummary, fact: Fact) -> None:
    spent = fact.of(ChildEnded).spent
    row.children_model_calls += spent.model_calls
    row.children_tool_calls += spent.tool_calls
    row.children_tokens += spent.tokens
    row.children_usd = usd(row.children_usd + usd_of(spent.nano_usd))


def call_settled(row: ExecutionSummary, fact: Fact) -> None:
    call = fact.of(CallSettled).call
    row.waits = [wait for wait in row.waits if wait.id != call]


def step_completed(row: ExecutionSummary, fact: Fact) -> None:
    settle(row, fact.of(StepCompleted).step)
    rest(row)


def step_failed(row: ExecutionSummary, fact: Fact) -> None:
    settle(row, fact.of(StepFailed).step)
    rest(row)


def resolved(row: ExecutionSummary, fact: Fact) -> None:
    settle(row, fact.of(StepResolved).step)
    rest(row)


def rejected(row: ExecutionSummary, fact: Fact) -> None:
    event = fact.of(ApprovalRejected)
    for step in (*row.active_steps, *(wait.step for wait in row.waits)):
        if step == event.step or event.sends_back(step):
            settle(row, step)
    rest(row)


def activate(row: ExecutionSummary, step: str) -> None:
    settle(row, step)
    row.active_steps.append(step)


def settle(row: ExecutionSummary, step: str) -> None:
    """The step is neither active nor waiting."""
    if step in row.active_steps:
        row.active_steps.remove(step)
    if row.waits:
        row.waits = [wait for wait in row.waits if wait.step != step]


def rest(row: ExecutionSummary) -> None:
    """WAITING when nothing is under way and something waits."""
    if row.waits and not row.active_steps and row.status is not Status.PAUSED:
        row.status = Status.WAITING


def paused(row: ExecutionSummary, fact: Fact) -> None:
    row.status = Status.PAUSED


def resumed(row: ExecutionSummary, fact: Fact) -> None:
    row.status = Status.PENDING
    rest(row)


def model_called(row: ExecutionSummary, fact: Fact) -> None:
    row.model_calls += 1


def tool_called(row: ExecutionSummary, fact: Fact) -> None:
    row.tool_calls += 1


def model_answered(row: ExecutionSummary, fact: Fact) -> None:
    answer = fact.of(ModelCallCompleted)
    row.prompt_tokens += answer.prompt_tokens
    row.completion_tokens += answer.completion_tokens
    row.cost_usd = usd(row.cost_usd + answer.cost_usd)


def reused(row: ExecutionSummary, fact: Fact) -> None:
    call = fact.of(CallReused)
    row.reused_calls += 1
    row.saved_tokens += call.prompt_tokens + call.completion_tokens
    row.saved_usd = usd(row.saved_usd + call.cost_usd)


def held(row: ExecutionSummary, fact: Fact) -> None:
    row.waiting_for = "concurrency"


def admitted(row: ExecutionSummary, fact: Fact) -> None:
    row.waiting_for = None


def retried(row: ExecutionSummary, fact: Fact) -> None:
    row.status, row.ended_at, row.duration_ms, row.error = Status.PENDING, None, None, None


def completed(row: ExecutionSummary, fact: Fact) -> None:
    end(row, Status.COMPLETED, fact)


def failed(row: ExecutionSummary, fact: Fact) -> None:
    end(row, Status.FAILED, fact)
    row.error = fact.of(ExecutionFailed).failure.message


def cancelled(row: ExecutionSummary, fact: Fact) -> None:
    end(row, Status.CANCELLED, fact)


def timed_out(row: ExecutionSummary, fact: Fact) -> None:
    end(row, Status.TIMED_OUT, fact)
    limit_s = fact.of(ExecutionTimedOut).timeout_s
    row.error = f"it was pending or running for longer than its limit of {limit_s:g} s"


def erased(row: ExecutionSummary, fact: Fact) -> None:
    row.erased_at = fact.at


def end(row: ExecutionSummary, status: Status, fact: Fact) -> None:
    row.status, row.ended_at = status, fact.at
    row.active_steps, row.waits, row.waiting_for = [], [], None
    if row.started_at is not None:
        row.duration_ms = milliseconds_between(row.started_at, row.ended_at)


CHANGES: dict[str, Callable[[ExecutionSummary, Fact], None]] = {
    tag_of(StepScheduled): scheduled,
    tag_of(ExecutionHeld): held,
    tag_of(ExecutionAdmitted): admitted,
    tag_of(StepStarted): started,
    tag_of(StepSuspended): suspended,
    tag_of(CallSettled): call_settled,
    tag_of(StepCompleted): step_completed,
    tag_of(StepFailed): step_failed,
    tag_of(StepResolved): resolved,
    tag_of(ApprovalRejected): rejected,
    tag_of(ExecutionPaused): paused,
    tag_of(ExecutionResumed): resumed,
    tag_of(ExecutionRetried): retried,
    tag_of(ModelCallStarted): model_called,
    tag_of(ModelCallCompleted): model_answered,
    tag_of(ToolCallStarted): tool_called,
    tag_of(CallReused): reused,
    tag_of(ChildEnded): child_ended,
    tag_of(ExecutionCompleted): completed,
    tag_of(ExecutionFailed): failed,
    tag_of(ExecutionCancelled): cancelled,
    tag_of(ExecutionTimedOut): timed_out,
    tag_of(ExecutionErased): erased,
}
"""What an event changes besides the version."""
