"""What a runner may report: entries of the current attempt, in order, each once."""

from __future__ import annotations

from domain.errors import Rejected
from domain.execution.commands import RecordProgress
from domain.execution.events import (
    ExecutionEvents,
    ExecutionFailed,
    Progress,
    StepCompleted,
    StepFailed,
)
from domain.execution.rules.checks import check_open, known_step
from domain.execution.rules.order import after_step
from domain.execution.state import Execution, StepStatus, evolve


def record_progress(state: Execution, command: RecordProgress) -> tuple[ExecutionEvents, ...]:
    step = known_step(state, command)
    is_current = command.attempt == step.attempt
    if is_current and command.after + len(command.entries) <= step.recorded:
        return ()
    check_open(state, command)
    if not is_current or step.status is not StepStatus.RUNNING:
        raise Rejected(
            f"RecordProgress of attempt {command.attempt} is not allowed while attempt {step.attempt} "
            f"of step {command.step!r} is {step.status}"
        )
    if command.after != step.recorded:
        raise Rejected(f"RecordProgress after entry {command.after} does not follow entry {step.recorded}")
    events: list[ExecutionEvents] = []
    for entry in command.entries:
        following = outcome(state, command, entry)
        for event in following:
            state = evolve(state, event)
        events.extend(following)
    return tuple(events)


def outcome(state: Execution, command: RecordProgress, entry: Progress) -> tuple[ExecutionEvents, ...]:
    """The entry, and what follows from it."""
    if (entry.step, entry.attempt) != (command.step, command.attempt):
        raise Rejected(f"an entry of step {entry.step!r}, attempt {entry.attempt} came under another report")
    if not state.is_open or state.steps[entry.step].status is not StepStatus.RUNNING:
        raise Rejected("RecordProgress is not allowed after the step's end")
    match entry:
        case StepCompleted():
            check_outputs(state, entry.step)
            return (entry, *after_step(evolve(state, entry)))
        case StepFailed(failure=failure):
            return (entry, ExecutionFailed(failure=failure, step=entry.step))
        case _:
            return (entry,)


def check_outputs(state: Execution, step: str) -> None:
    missing = [task for task in state.definition.tasks_of(step) if task not in state.outputs]
    if missing:
        raise Rejected(f"StepCompleted is not allowed: task {missing[0]!r} has no output")
