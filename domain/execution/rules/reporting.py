"""What a runner may report: entries of the current attempt, in order, each once.

An attempt that was told to let go (its execution paused, its step suspended) may still report how its calls
in flight came out, so that what was paid for is in the journal; it may begin nothing.
"""

from __future__ import annotations

from domain.errors import Draining, Rejected
from domain.execution.commands import RecordProgress
from domain.execution.events import (
    Drained,
    ExecutionEvents,
    ExecutionFailed,
    Progress,
    StepCompleted,
    StepFailed,
    StepSuspended,
)
from domain.execution.rules.budgets import budget_failure
from domain.execution.rules.checks import check_open, known_step
from domain.execution.rules.claiming import has_claimed, start_step
from domain.execution.rules.order import after_end
from domain.execution.rules.retrying import fail_step
from domain.execution.rules.suspending import demanded_wait
from domain.execution.state import Execution, StepState, StepStatus, evolve, evolved


def record_progress(state: Execution, command: RecordProgress) -> tuple[ExecutionEvents, ...]:
    step = known_step(state, command)
    if is_recorded(step, command):
        return ()
    claimed = start_step(state, command.claim) if command.claim else ()
    return (*claimed, *reported(evolved(state, claimed), command))


def is_recorded(step: StepState, command: RecordProgress) -> bool:
    """It came before, from the same runner: two may believe in an attempt that neither has claimed yet."""
    is_own = command.claim is None or has_claimed(step, command.claim)
    is_known = command.after + len(command.entries) <= step.recorded
    return is_own and is_known and command.attempt == step.attempt


def reported(state: Execution, command: RecordProgress) -> tuple[ExecutionEvents, ...]:
    check_open(state, command)
    step = known_step(state, command)
    if command.attempt != step.attempt or step.lease is None:
        raise Rejected(
            f"RecordProgress of attempt {command.attempt} is not allowed while attempt {step.attempt} "
            f"of step {command.step!r} is {step.status}"
        )
    if command.after != step.recorded:
        raise Rejected(f"RecordProgress after entry {command.after} does not follow entry {step.recorded}")
    check_entries(command)
    if step.draining:
        return drained(command, step)
    if (failure := budget_failure(state, command)) is not None:
        return (*outcomes(command), ExecutionFailed(failure=failure, step=command.step))
    if (wait := demanded_wait(state, command)) is not None:
        begins = sum(not isinstance(entry, Drained) for entry in command.entries)
        suspended = StepSuspended(step=command.step, attempt=command.attempt, wait=wait, refused=begins)
        return (suspended, *outcomes(command))
    return recorded(state, command)


def outcomes(command: RecordProgress) -> tuple[Drained, ...]:
    """Of a report: what had been begun before it."""
    return tuple(entry for entry in command.entries if isinstance(entry, Drained))


def check_entries(command: RecordProgress) -> None:
    for entry in command.entries:
        if (entry.step, entry.attempt) != (command.step, command.attempt):
            raise Rejected(
                f"an entry of step {entry.step!r}, attempt {entry.attempt} came under another report"
            )


def drained(command: RecordProgress, step: StepState) -> tuple[ExecutionEvents, ...]:
    """All or nothing: the runner sends the rest again without what would begin something."""
    if not all(isinstance(entry, Drained) for entry in command.entries):
        raise Draining(f"attempt {step.attempt} of step {command.step!r} was told to let go: begin nothing")
    return command.entries


def recorded(state: Execution, command: RecordProgress) -> tuple[ExecutionEvents, ...]:
    events: list[ExecutionEvents] = []
    for entry in command.entries:
        following = outcome(state, entry)
        state = evolved(state, following)
        events.extend(following)
    return tuple(events)


def outcome(state: Execution, entry: Progress) -> tuple[ExecutionEvents, ...]:
    """The entry, and what follows from it."""
    if not state.is_open or state.steps[entry.step].status is not StepStatus.RUNNING:
        raise Rejected("RecordProgress is not allowed after the step's end")
    match entry:
        case StepCompleted():
            check_outputs(state, entry.step)
            return (entry, *after_end(evolve(state, entry), entry.step))
        case StepFailed():
            return fail_step(state, entry)
        case _:
            return (entry,)


def check_outputs(state: Execution, step: str) -> None:
    missing = [task for task in state.definition.tasks_of(step) if task not in state.outputs]
    if missing:
        raise Rejected(f"StepCompleted is not allowed: task {missing[0]!r} has no output")


def refused_beginnings(state: Execution, command: RecordProgress) -> bool:
    """Whether what the report would have begun was refused, though its outcomes were recorded."""
    step = state.steps.get(command.step)
    return step is not None and command.attempt == step.attempt and step.refused_at == command.after
