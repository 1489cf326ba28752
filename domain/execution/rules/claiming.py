"""Who has a step: a runner claims it, the dispatcher takes it back from a queue that was lost."""

from __future__ import annotations

from domain.errors import Held, Rejected
from domain.execution.commands import RescheduleStep, StartStep
from domain.execution.events import (
    ExecutionEvents,
    ExecutionFailed,
    StepFailed,
    StepReleased,
    StepScheduled,
    StepStarted,
)
from domain.execution.rules.checks import check_open, known_step
from domain.execution.rules.mapping import is_left_out
from domain.execution.rules.retrying import given_up
from domain.execution.state import Execution, Lease, Status, StepState, StepStatus, evolved
from domain.execution.values import Failure


def start_step(state: Execution, command: StartStep) -> tuple[ExecutionEvents, ...]:
    check_open(state, command)
    step = known_step(state, command)
    if is_lost(step.draining, command):
        return (StepReleased(step=command.step, attempt=step.attempt),)
    if state.status is Status.PAUSED:
        raise Rejected("StartStep is not allowed while paused")
    if step.status is StepStatus.RUNNING and step.turn == command.turn:
        if has_claimed(step, command):
            return ()
        if command.delivery <= step.delivery:
            raise Rejected(
                f"StartStep is not allowed while running by {step.runner} (attempt {step.attempt})"
            )
    elif step.status is not StepStatus.SCHEDULED or step.turn != command.turn:
        raise Rejected(f"StartStep of turn {command.turn} is not allowed: turn {step.turn} is {step.status}")
    if step.draining and not command.insists:
        raise Held(f"attempt {step.attempt} of step {command.step!r} still reports its last calls")
    return begun(state, command, step)


def has_claimed(step: StepState, command: StartStep) -> bool:
    return (step.turn, step.delivery, step.runner) == (command.turn, command.delivery, command.runner)


def foreseen(state: Execution, command: StartStep) -> Execution | None:
    """The state after a claim of work that nobody ever began: it may come with the first report.

    None for any other. Work that came again is claimed ahead of it: who died of it before its first report
    has to be counted.
    """
    step = state.steps.get(command.step)
    if step is None or not state.is_open or state.status is Status.PAUSED:
        return None
    is_offered = step.status is StepStatus.SCHEDULED and step.turn == command.turn
    if not is_offered or command.delivery > 1 or step.attempt:
        return None
    return evolved(state, start_step(state, command))


def is_lost(draining: Lease | None, command: StartStep) -> bool:
    """The runner that was told to let go has lost its lease to this one, so it has let go."""
    return draining is not None and command.turn == draining.turn and command.delivery > draining.delivery


def begun(state: Execution, command: StartStep, step: StepState) -> tuple[ExecutionEvents, ...]:
    if step.begun >= state.definition.limits.max_attempts:
        message = f"step {command.step!r} was begun {step.begun} times and no runner came to its end"
        return exhausted(state, command.step, Failure("attempts_exhausted", message))
    started = StepStarted(
        step=command.step,
        turn=command.turn,
        delivery=command.delivery,
        attempt=step.attempt + 1,
        runner=command.runner,
    )
    return (started,)


def exhausted(state: Execution, step: str, failure: Failure) -> tuple[ExecutionEvents, ...]:
    """The execution's end; a map may go on without the item."""
    if not is_left_out(state, step):
        return (ExecutionFailed(failure=failure, step=step),)
    return given_up(state, StepFailed(step=step, attempt=state.steps[step].attempt, failure=failure))


def reschedule_step(state: Execution, command: RescheduleStep) -> tuple[ExecutionEvents, ...]:
    step = known_step(state, command)
    if not state.is_open or step.turn != command.turn:
        return ()
    if command.runner and (step.lease is None or step.lease.runner != command.runner):
        return ()
    events: list[ExecutionEvents] = []
    if step.draining:
        events.append(StepReleased(step=command.step, attempt=step.attempt))
    if step.status.is_active and state.status is not Status.PAUSED:
        events.append(StepScheduled(step=command.step, turn=step.turn + 1, reason=command.reason))
    return tuple(events)
