"""Ends that come from outside."""

from __future__ import annotations

from domain.execution.commands import CancelExecution, TimeOutExecution
from domain.execution.events import ExecutionCancelled, ExecutionEvents, ExecutionTimedOut
from domain.execution.rules.checks import check_open
from domain.execution.state import Execution, Status


def cancel(state: Execution, command: CancelExecution) -> tuple[ExecutionEvents, ...]:
    if state.status is Status.CANCELLED:
        return ()
    check_open(state, command)
    return (ExecutionCancelled(reason=command.reason),)


def time_out(state: Execution, command: TimeOutExecution) -> tuple[ExecutionEvents, ...]:
    """Nothing where the time is not over, or does not count: timers ring late, and twice."""
    if state.status not in (Status.PENDING, Status.RUNNING):
        return ()
    limit_s = state.definition.limits.timeout_s
    if limit_s is None or command.spent_s < limit_s:
        return ()
    return (ExecutionTimedOut(timeout_s=limit_s),)
