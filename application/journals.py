"""The journal of a step as a runner gets it: the known outcomes of its own calls, and those of a fork's past.

Called by `application.channel`. Its one rule: the past of a fork is read where it stands, in the streams of
the executions that it was forked from; nothing of it is copied.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple, cast

import msgspec

from application.contents import digest_of
from application.ports import EventLog, PastReview, Prior, UnknownCall
from domain.errors import NotFound
from domain.execution import (
    CallReused,
    CallSettled,
    Content,
    Edit,
    ExecutionErased,
    ExecutionRequested,
    ForkedFrom,
    Journaled,
    ModelCallCompleted,
    Origin,
    StepSuspended,
    TaskReviewed,
    ToolCallCompleted,
    ToolCallFailed,
    ToolCallStarted,
)
from domain.execution.past import settled_outcome
from domain.message import Event, Recorded, tag_of
from domain.registry import event_of

ERASED = tag_of(ExecutionErased)
JOURNALED = frozenset(tag_of(event) for event in (ModelCallCompleted, ToolCallCompleted, ToolCallFailed))
TOLD = frozenset(tag_of(event) for event in (ToolCallStarted, CallSettled, StepSuspended, TaskReviewed))
REUSED = tag_of(CallReused)


class StepPast(NamedTuple):
    """What is known of a step's earlier attempts.

    journal  outcomes of calls, in order: its own, then what the past of a fork has left
    unknown  tool calls that were begun, and of which nobody knows how they came out
    reviews  what people said of its tasks' outputs
    """

    journal: tuple[Journaled | Prior, ...]
    unknown: tuple[UnknownCall, ...]
    reviews: tuple[PastReview, ...]


async def past_of_step(log: EventLog, execution_id: str, step: str) -> StepPast:
    """A call's id is the same in every attempt. It stands in the journal twice when the first outcome was a
    tool's failure and the agent asked again. A model call that failed is none: it is sent again."""
    events = await log.read_stream(f"execution-{execution_id}")
    history = StepHistory(step)
    for generation in await generations_of(log, events):
        history.inherit(*generation)
    fork = forked_from(events)
    history.forget_models(is_what_if=fork is not None and fork.is_what_if)
    history.resume(events)
    return StepPast((*history.own, *history.past), history.unknown, tuple(history.reviews))


class Generation(NamedTuple):
    """An execution that another was forked from: the part of its events that this one has as its past."""

    execution_id: str
    events: Sequence[Recorded]
    edits: tuple[Edit, ...]


async def generations_of(log: EventLog, events: Sequence[Recorded]) -> list[Generation]:
    """The oldest first; [] for what is no fork. Raises `NotFound` where one of them was erased."""
    generations: list[Generation] = []
    while (fork := forked_from(events)) is not None:
        events = await log.read_stream(f"execution-{fork.execution_id}")
        if is_erased(events):
            raise NotFound(f"{fork.execution_id!r}, which this one was forked from, was erased")
        generations.insert(0, Generation(fork.execution_id, events[: fork.at], fork.edits))
    return generations


def is_erased(events: Sequence[Recorded]) -> bool:
    """Whether the contents of a whole stream are gone."""
    return bool(events) and events[-1].tag == ERASED


def forked_from(events: Sequence[Recorded]) -> ForkedFrom | None:
    return cast("ExecutionRequested", event_of(events[0])).forked_from if events else None


class StepHistory:
    """What a step has behind it, while the streams that tell of it are read, the oldest execution first.

    own   outcomes of its own calls; past: of those that it has from the executions it was forked from
    """

    def __init__(self, step: str) -> None:
        self.own: list[Journaled] = []
        self.past: list[Prior] = []
        self.reviews: list[PastReview] = []
        self._step = step
        self._intents: dict[str, ToolCallStarted] = {}
        self._begun: dict[str, Origin] = {}
        self._first_by: dict[str, str] = {}
        self._shown: dict[str, str] = {}

    @property
    def unknown(self) -> tuple[UnknownCall, ...]:
        """The tool calls that were begun, and have no outcome."""
        return tuple(UnknownCall(self._intents[call], self._first_by[call]) for call in self._begun)

    def inherit(self, execution_id: str, events: Iterable[Recorded], edits: Iterable[Edit]) -> None:
        """The past that one more execution gives, and what whoever forked has changed in all of it."""
        for recorded in events:
            if (outcome := self._outcome(recorded, execution_id)) is not None:
                self.past.append(Prior(Origin(execution_id, recorded.version, outcome.call), outcome))
        for edit in edits:
            self.past = [with_edit(prior, edit) for prior in self.past]
            if self._begun.get(edit.origin.call) == edit.origin:
                outcome = settled_outcome(self._intents[edit.origin.call], edited(edit.result))
                self.past.append(Prior(edit.origin, outcome, is_edited=True))
                del self._begun[edit.origin.call]

    def forget_models(self, *, is_what_if: bool) -> None:
        """Of a what-if: its models are asked anew."""
        if is_what_if:
            self.past = [one for one in self.past if not isinstance(one.outcome, ModelCallCompleted)]

    def resume(self, events: Iterable[Recorded]) -> None:
        """The step's own attempts."""
        for recorded in events:
            if (outcome := self._outcome(recorded)) is not None:
                self.own.append(outcome)
            elif recorded.tag == REUSED:
                self._reused(cast("CallReused", event_of(recorded)))

    def _reused(self, event: CallReused) -> None:
        for prior in self.past:
            if prior.origin == event.origin:
                self.past.remove(prior)
                if event.attempt:
                    self.own.append(msgspec.structs.replace(prior.outcome, call=event.call))
                break

    def _outcome(self, recorded: Recorded, execution_id: str = "") -> Journaled | None:
        """What an event tells of how a call came out; notes the rest."""
        outcome = outcome_in(recorded, self._step)
        if outcome is None and recorded.tag in TOLD:
            outcome = self._noted(event_of(recorded), execution_id, recorded.version)
        if outcome is not None:
            self._begun.pop(outcome.call, None)
        return outcome

    def _noted(self, event: Event, execution_id: str, version: int) -> ToolCallCompleted | None:
        match event:
            case ToolCallStarted(step=self._step, call=call):
                self._intents[call] = event
                if call not in self._begun:
                    self._first_by[call] = execution_id
                self._begun[call] = Origin(execution_id, version, call)
            case StepSuspended(step=self._step, wait=wait) if wait.kind == "human_input":
                self._shown[wait.id] = digest_of(wait.message.encode())
            case TaskReviewed(step=self._step, review=review):
                self.reviews.append(PastReview(event, self._shown.get(review, "")))
            case CallSettled(step=self._step, call=call) if call in self._intents:
                return self._settled(event)
        return None

    def _settled(self, event: CallSettled) -> ToolCallCompleted | None:
        """A person was asked about a call without an outcome, or about one whose answer is not stored any
        more: that outcome is none."""
        if self._begun.pop(event.call, None) is None:
            self.own = without_newest(self.own, event.call)
            self.past = [prior for prior in self.past if prior.origin.call != event.call]
        return settled_outcome(self._intents[event.call], event.result)


def without_newest(outcomes: Sequence[Journaled], call: str) -> list[Journaled]:
    newest = max((at for at, outcome in enumerate(outcomes) if outcome.call == call), default=None)
    return [outcome for at, outcome in enumerate(outcomes) if at != newest]


def outcome_in(recorded: Recorded, step: str) -> Journaled | None:
    """The known outcome of a call of the step."""
    if recorded.tag not in JOURNALED:
        return None
    event = cast("Journaled", event_of(recorded))
    return event if event.step == step else None


def with_edit(prior: Prior, edit: Edit) -> Prior:
    """The outcome with the result that whoever forked has given it, if it is this one."""
    if prior.origin != edit.origin:
        return prior
    return Prior(prior.origin, with_result(prior.outcome, edited(edit.result)), is_edited=True)


def edited(result: str) -> Content:
    whole = result.encode()
    return Content(digest_of(whole), len(whole), result)


def with_result(outcome: Journaled, content: Content) -> Journaled:
    match outcome:
        case ModelCallCompleted():
            return msgspec.structs.replace(outcome, response=content, asks_for_tools=False)
        case ToolCallCompleted():
            return msgspec.structs.replace(outcome, result=content)
        case ToolCallFailed() as failed:
            return ToolCallCompleted(
                step=failed.step,
                attempt=failed.attempt,
                call=failed.call,
                tool=failed.tool,
                result=content,
                duration_ms=failed.duration_ms,
                task=failed.task,
            )
