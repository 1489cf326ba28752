"""Every rule of an execution's life."""

from __future__ import annotations

from typing import assert_never

from domain import graph
from domain.errors import NotFound, Rejected
from domain.execution.commands import (
    CancelExecution,
    ExecutionCommands,
    RecordProgress,
    RequestExecution,
    RescheduleStep,
    StartStep,
)
from domain.execution.events import (
    ExecutionCancelled,
    ExecutionCompleted,
    ExecutionEvents,
    ExecutionFailed,
    ExecutionRequested,
    Failure,
    Progress,
    StepCompleted,
    StepFailed,
    StepScheduled,
    StepStarted,
)
from domain.execution.state import Execution, Status, StepState, StepStatus, evolve


def decide(state: Execution, command: ExecutionCommands) -> tuple[ExecutionEvents, ...]:
    match command:
        case RequestExecution():
            return request(state, command)
        case StartStep():
            return start_step(state, command)
        case RecordProgress():
            return record_progress(state, command)
        case RescheduleStep():
            return reschedule_step(state, command)
        case CancelExecution():
            return cancel(state, command)
        case _:
            assert_never(command)


def request(state: Execution, command: RequestExecution) -> tuple[ExecutionEvents, ...]:
    if state.status is not None:
        raise Rejected(f"RequestExecution is not allowed: {command.execution_id!r} exists already")
    requested = ExecutionRequested(
        name=command.name,
        definition=command.definition,
        inputs=command.inputs,
        models=command.models,
        default_model=command.default_model,
        workflow_id=command.workflow_id,
        workflow_version=command.workflow_version,
    )
    return (requested, *scheduled(evolve(state, requested)))


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
    missing = [task for task in state.definition.graph[step].crew.tasks if task not in state.outputs]
    if missing:
        raise Rejected(f"StepCompleted is not allowed: task {missing[0]!r} has no output")


def after_step(state: Execution) -> tuple[ExecutionEvents, ...]:
    """The steps that can run now; the execution's end when none is left."""
    if any(step not in done_steps(state) for step in state.definition.graph):
        return scheduled(state)
    last = graph.last_node(links(state))
    task = state.definition.graph[last].crew.tasks[-1]
    return (ExecutionCompleted(output=state.outputs[task]),)


def reschedule_step(state: Execution, command: RescheduleStep) -> tuple[ExecutionEvents, ...]:
    step = known_step(state, command)
    unfinished = step.status in (StepStatus.SCHEDULED, StepStatus.RUNNING)
    if not state.is_open or not unfinished or step.turn != command.turn:
        return ()
    return (StepScheduled(step=command.step, turn=step.turn + 1, reason=command.reason),)


def cancel(state: Execution, command: CancelExecution) -> tuple[ExecutionEvents, ...]:
    if state.status is Status.CANCELLED:
        return ()
    check_open(state, command)
    return (ExecutionCancelled(reason=command.reason),)


def check_open(state: Execution, command: ExecutionCommands) -> None:
    if state.status is None:
        raise NotFound(f"there is no execution {command.execution_id!r}")
    if state.status.is_terminal:
        raise Rejected(f"{type(command).__name__} is not allowed while {state.status.lower()}")


def known_step(state: Execution, command: StartStep | RecordProgress | RescheduleStep) -> StepState:
    if state.status is None:
        raise NotFound(f"there is no execution {command.execution_id!r}")
    if (step := state.steps.get(command.step)) is None:
        raise Rejected(f"{type(command).__name__} is not allowed: step {command.step!r} is not scheduled")
    return step


def scheduled(state: Execution) -> tuple[StepScheduled, ...]:
    """A first turn for every step that has become ready."""
    ready = graph.ready_nodes(links(state), done_steps(state), frozenset(state.steps))
    return tuple(StepScheduled(step=step, turn=1) for step in ready)


def done_steps(state: Execution) -> frozenset[str]:
    return frozenset(name for name, step in state.steps.items() if step.status is StepStatus.COMPLETED)


def links(state: Execution) -> graph.Graph:
    return {name: step.predecessors for name, step in state.definition.graph.items()}
