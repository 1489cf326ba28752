"""What an execution had behind it at one of its versions: what a fork from there takes over.

Called while a fork is prepared. Its one rule: only what had ended by then is past; a call that was under way
is made again, a task that was begun is gone through again.
"""

from __future__ import annotations

from collections import defaultdict, deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple, overload

import msgspec

from domain.execution.answers import CallSettled
from domain.execution.approvals import SignalReceived, StepResolved
from domain.execution.calls import (
    CallReused,
    ModelCallCompleted,
    ModelCallStarted,
    ToolCallCompleted,
    ToolCallFailed,
    ToolCallStarted,
)
from domain.execution.events import (
    ExecutionEvents,
    Journaled,
    StepReused,
    TakenOver,
    TaskReused,
    TaskStarted,
)
from domain.execution.forks import Origin
from domain.execution.state import Execution, StepStatus, evolve
from domain.execution.values import Content


class UnknownCall(NamedTuple):
    """A tool call that nobody knows the outcome of: the version of its intent, and whose it was."""

    version: int
    task: str | None


@dataclass(frozen=True)
class Past:
    """
    state     the execution as it was
    calls     every known outcome, oldest first
    answered  by call, the version of its newest outcome
    began     by task, the version at which it was first begun
    signals   that a step had taken which completed, or that were kept, in the order in which they are taken
    unknown   tool calls that were begun and have no outcome
    """

    state: Execution
    calls: tuple[CallReused, ...]
    answered: dict[str, int]
    began: dict[str, int]
    signals: tuple[SignalReceived, ...]
    unknown: dict[str, UnknownCall]

    @property
    def tasks(self) -> frozenset[str]:
        """That had completed."""
        return frozenset(self.state.outputs) & self.state.definition.tasks.keys()

    @property
    def steps(self) -> tuple[str, ...]:
        """That had completed: crews, and children; the others follow from them once more."""
        done = (name for name, step in self.state.steps.items() if step.status is StepStatus.COMPLETED)
        document = self.state.definition.graph
        return tuple(
            name
            for name in done
            if name in document and (document[name].crew is not None or name in self.children)
        )

    @property
    def children(self) -> tuple[str, ...]:
        """Steps whose child had completed."""
        nodes, outputs = self.state.definition.graph, self.state.outputs
        return tuple(name for name, node in nodes.items() if node.child is not None and name in outputs)

    def call(self, call: str) -> CallReused | None:
        """The newest outcome of a call."""
        return next((reused for reused in reversed(self.calls) if reused.call == call), None)

    def taken_over(self) -> tuple[TakenOver, ...]:
        """What a fork begins with: the calls and outputs of completed tasks, the completed steps, and the
        signals that its steps will take."""
        calls = (call for call in self.calls if call.task in self.tasks)
        tasks = (
            TaskReused(step=name, task=task, output=self.state.outputs[task])
            for name in self.state.definition.graph
            for task in self.state.definition.tasks_of(name)
            if task in self.tasks
        )
        children = (
            TaskReused(step=name, task=name, output=self.state.outputs[name]) for name in self.children
        )
        steps = (StepReused(step=step) for step in self.steps)
        return (*calls, *tasks, *children, *steps, *self.signals)


def past_of(execution_id: str, events: Sequence[ExecutionEvents]) -> Past:
    """The past that an execution's first events (version 1, 2, ...) add up to; at least one."""
    state, began = Execution(), dict[str, int]()
    for version, event in enumerate(events, 1):
        state = evolve(state, event)
        if isinstance(event, TaskStarted | TaskReused):
            began.setdefault(event.task, version)
    calls = [*outcomes(execution_id, events)]
    answered = {call.call: version for version, call in calls}
    return Past(
        state,
        tuple(call for _, call in calls),
        answered,
        began,
        signals_of(state, events),
        unknown_calls(events),
    )


def signals_of(state: Execution, events: Iterable[ExecutionEvents]) -> tuple[SignalReceived, ...]:
    """What the steps of a fork find when they wait for signals as those of this past did. What was taken by
    a step that was sent back afterwards is gone."""
    kept: defaultdict[str, deque[SignalReceived]] = defaultdict(deque)
    taken: dict[str, SignalReceived] = {}
    for event in events:
        match event:
            case SignalReceived(name=name):
                kept[name].append(event)
            case StepResolved(step=step, signal=str(name)):
                taken.pop(step, None)
                taken[step] = kept[name].popleft()
    done = (one for step, one in taken.items() if state.steps[step].status is StepStatus.COMPLETED)
    return (*done, *(one for each in kept.values() for one in each))


def unknown_calls(events: Iterable[ExecutionEvents]) -> dict[str, UnknownCall]:
    unknown: dict[str, UnknownCall] = {}
    for version, event in enumerate(events, 1):
        match event:
            case ToolCallStarted(call=call, task=task):
                unknown[call] = UnknownCall(version, task)
            case ToolCallCompleted(call=call) | ToolCallFailed(call=call) | CallSettled(call=call):
                unknown.pop(call, None)
    return unknown


def outcomes(execution_id: str, events: Iterable[ExecutionEvents]) -> Iterator[tuple[int, CallReused]]:
    """The version and outcome of every call whose outcome is known, as a fork takes it over."""
    begun: dict[str, ModelCallStarted | ToolCallStarted] = {}
    for version, event in enumerate(events, 1):
        match event:
            case ModelCallStarted() | ToolCallStarted():
                begun[event.call] = event
            case CallReused():
                yield version, msgspec.structs.replace(event, attempt=0)
            case _ if (outcome := outcome_of(event, begun)) is not None:
                intent, origin = begun.get(outcome.call), Origin(execution_id, version, outcome.call)
                yield version, reused(outcome, origin, agent=intent.agent if intent else None)


def outcome_of(
    event: ExecutionEvents, begun: Mapping[str, ModelCallStarted | ToolCallStarted]
) -> Journaled | None:
    """The outcome that an event tells, as a provider or tool gave it or as a person said."""
    if isinstance(event, CallSettled):
        intent = begun.get(event.call)
        return settled_outcome(intent, event.result) if isinstance(intent, ToolCallStarted) else None
    return event if isinstance(event, Journaled) else None


@overload
def settled_outcome(intent: ToolCallStarted, result: Content) -> ToolCallCompleted: ...
@overload
def settled_outcome(intent: ToolCallStarted, result: Content | None) -> ToolCallCompleted | None: ...
def settled_outcome(intent: ToolCallStarted, result: Content | None) -> ToolCallCompleted | None:
    """The outcome that a person gave; None when the call is to be sent again."""
    if result is None:
        return None
    return ToolCallCompleted(
        step=intent.step,
        attempt=intent.attempt,
        call=intent.call,
        tool=intent.tool,
        result=result,
        duration_ms=0,
        task=intent.task,
    )


def reused(
    outcome: Journaled,
    origin: Origin,
    *,
    agent: str | None,
    attempt: int = 0,
    call: str = "",
    is_edited: bool = False,
) -> CallReused:
    """The event of an outcome that is taken. call: its id in the fork, where that is another one."""
    answer = outcome if isinstance(outcome, ModelCallCompleted) else None
    paid = None if is_edited else answer
    return CallReused(
        step=outcome.step,
        attempt=attempt,
        call=call or outcome.call,
        origin=origin,
        task=outcome.task,
        agent=agent,
        model=answer.model if answer else None,
        tool=None if isinstance(outcome, ModelCallCompleted) else outcome.tool,
        is_edited=is_edited,
        prompt_tokens=paid.prompt_tokens if paid else 0,
        completion_tokens=paid.completion_tokens if paid else 0,
        cost_usd=paid.cost_usd if paid else 0.0,
    )
