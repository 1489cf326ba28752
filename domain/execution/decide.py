"""Every command of an execution and its rule. The rules stand in `domain.execution.rules`."""

from __future__ import annotations

from typing import assert_never

from domain.execution.commands import (
    AdmitExecution,
    ArchiveExecution,
    CancelExecution,
    DecideApproval,
    EndWait,
    EraseExecution,
    ExecutionCommands,
    PauseExecution,
    RaiseBudget,
    RecordProgress,
    ReportChild,
    RequestExecution,
    RescheduleStep,
    ResumeExecution,
    RetryExecution,
    ReviewTask,
    SendSignal,
    SettleCall,
    StartStep,
    TimeOutExecution,
)
from domain.execution.events import ExecutionEvents
from domain.execution.rules.answering import review_task, settle_call
from domain.execution.rules.approving import decide_approval
from domain.execution.rules.archiving import archive, unless_archived
from domain.execution.rules.claiming import reschedule_step, start_step
from domain.execution.rules.ending import cancel, time_out
from domain.execution.rules.erasing import ALLOWED, decided_when_erased, erase
from domain.execution.rules.joining import report_child, with_children_told
from domain.execution.rules.pausing import pause, resume
from domain.execution.rules.placing import admit, placed
from domain.execution.rules.raising import raise_budget
from domain.execution.rules.reporting import record_progress
from domain.execution.rules.requesting import request
from domain.execution.rules.retrying import retry
from domain.execution.rules.ringing import end_wait
from domain.execution.rules.signalling import send_signal
from domain.execution.state import Execution


def decide(state: Execution, command: ExecutionCommands) -> tuple[ExecutionEvents, ...]:
    events = unless_archived(state, command, decided(state, command))
    return placed(state, with_children_told(state, events))


def decided(state: Execution, command: ExecutionCommands) -> tuple[ExecutionEvents, ...]:
    if state.is_erased and not isinstance(command, ALLOWED):
        return decided_when_erased(command)
    match command:
        case RequestExecution():
            return request(state, command)
        case AdmitExecution():
            return admit(state, command)
        case StartStep():
            return start_step(state, command)
        case RecordProgress():
            return record_progress(state, command)
        case RescheduleStep():
            return reschedule_step(state, command)
        case CancelExecution():
            return cancel(state, command)
        case DecideApproval():
            return decide_approval(state, command)
        case EndWait():
            return end_wait(state, command)
        case SendSignal():
            return send_signal(state, command)
        case PauseExecution():
            return pause(state, command)
        case ResumeExecution():
            return resume(state, command)
        case RetryExecution():
            return retry(state, command)
        case TimeOutExecution():
            return time_out(state, command)
        case RaiseBudget():
            return raise_budget(state, command)
        case SettleCall():
            return settle_call(state, command)
        case ReviewTask():
            return review_task(state, command)
        case ArchiveExecution():
            return archive(state, command)
        case ReportChild():
            return report_child(state, command)
        case EraseExecution():
            return erase(state, command)
        case _:
            assert_never(command)
