"""Pause and resume: nothing begins meanwhile, and no process is held."""

from __future__ import annotations

from domain.errors import Rejected
from domain.execution.commands import PauseExecution, ResumeExecution
from domain.execution.events import ExecutionEvents, ExecutionPaused, ExecutionResumed
from domain.execution.rules.checks import check_open
from domain.execution.rules.suspending import again
from domain.execution.state import Execution, Status, StepStatus


def pause(state: Execution, command: PauseExecution) -> tuple[ExecutionEvents, ...]:
    check_open(state, command)
    if state.status is Status.PAUSED:
        return ()
    return (ExecutionPaused(reason=command.reason, by_parent=command.by_parent),)


def resume(state: Execution, command: ResumeExecution) -> tuple[ExecutionEvents, ...]:
    check_open(state, command)
    if command.by_parent and not state.is_paused_by_parent:
        return ()
    if state.is_paused_by_parent and not command.by_parent:
        raise Rejected("ResumeExecution is not allowed: its parent is paused; resume that one")
    if state.status is Status.WAITING:
        waits = [step.wait for step in state.steps.values() if step.wait]
        asked = "; ".join(f"{wait.kind} {wait.id!r}" for wait in waits)
        raise Rejected(f"ResumeExecution is not allowed while waiting: it waits for {asked}")
    if state.status is not Status.PAUSED:
        return ()
    interrupted = [name for name, step in state.steps.items() if step.status is StepStatus.SCHEDULED]
    left = command.delays_s
    following = (again(state, name, "resumed", delay_s=left.get(name, 0)) for name in interrupted)
    return (ExecutionResumed(), *following)
