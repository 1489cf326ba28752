"""Who has a step: a runner claims it, the dispatcher takes it back from a queue that was lost."""

from __future__ import annotations

from domain.errors import Rejected
from domain.execution.commands import RescheduleStep, StartStep
from domain.execution.events import ExecutionEvents, ExecutionFailed, Failure, StepScheduled, StepStarted
from domain.execution.rules.checks import check_open, known_step
from domain.execution.state import Execution, StepStatus


def start_step(state: Execution, command: StartStep) -> tuple[ExecutionEvents, ...]:
    check_open(state, command)
    step = known_step(state, command)
    if step.status is StepStatus.RUNNING and step.turn == command.turn:
        if step.delivery == command.delivery and step.runner == command.runner:
            return ()
        if command.delivery <= step.delivery:
            raise Rejected(
                f"StartStep is not allowed while running by {step.runner} (attempt {step.attempt})"
            )
    elif step.status is not StepStatus.SCHEDULED or step.turn != command.turn:
        raise Rejected(f"StartStep of turn {command.turn} is not allowed: turn {step.turn} is {step.status}")
    if step.attempt >= state.definition.limits.max_attempts:
        message = f"step {command.step!r} was begun {step.attempt} times and no runner came to its end"
        return (ExecutionFailed(failure=Failure("attempts_exhausted", message), step=command.step),)
    started = StepStarted(
        step=command.step,
        turn=command.turn,
        delivery=command.delivery,
        attempt=step.attempt + 1,
        runner=command.runner,
    )
    return (started,)


def reschedule_step(state: Execution, command: RescheduleStep) -> tuple[ExecutionEvents, ...]:
    step = known_step(state, command)
    unfinished = step.status in (StepStatus.SCHEDULED, StepStatus.RUNNING)
    if not state.is_open or not unfinished or step.turn != command.turn:
        return ()
    return (StepScheduled(step=command.step, turn=step.turn + 1, reason=command.reason),)
