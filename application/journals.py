"""The journal of a step as a runner gets it: the known outcomes of its own calls, and those of a fork's past.

Called by `application.channel`. Its one rule: the past of a fork is read where it stands, in the streams of
the executions that it was forked from; nothing of it is copied.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from hashlib import sha256
from typing import NamedTuple, cast

import msgspec

from application.ports import EventLog, Prior
from domain.execution import (
    CallReused,
    CallSettled,
    Content,
    ExecutionRequested,
    ForkedFrom,
    Journaled,
    ModelCallCompleted,
    Origin,
    TaskReviewed,
    ToolCallCompleted,
    ToolCallFailed,
    ToolCallStarted,
)
from domain.execution.past import settled_outcome
from domain.message import Recorded, tag_of
from domain.registry import event_of

JOURNALED = frozenset(tag_of(event) for event in (ModelCallCompleted, ToolCallCompleted, ToolCallFailed))
TOLD = frozenset(tag_of(event) for event in (CallReused, ToolCallStarted, CallSettled, TaskReviewed))


class StepPast(NamedTuple):
    """What is known of a step's earlier attempts.

    journal  outcomes of calls, in order: its own, then what the past of a fork has left
    unknown  tool calls that were begun, and of which nobody knows how they came out
    reviews  what people said of its tasks' outputs
    """

    journal: tuple[Journaled | Prior, ...]
    unknown: tuple[ToolCallStarted, ...]
    reviews: tuple[TaskReviewed, ...]


async def past_of_step(log: EventLog, execution_id: str, step: str) -> StepPast:
    """A call's id is the same in every attempt. It stands in the journal twice when the first outcome was a
    tool's failure and the agent asked again. A model call that failed is none: it is sent again."""
    events = await log.read_stream(f"execution-{execution_id}")
    inherited, begun = await past_of(log, events, step)
    past = {prior.origin: prior for prior in inherited}
    own: list[Journaled] = []
    reviews: list[TaskReviewed] = []
    for recorded in events:
        if outcome := outcome_in(recorded, step):
            begun.pop(outcome.call, None)
            own.append(outcome)
        elif recorded.tag in TOLD:
            match event_of(recorded):
                case CallReused() as reused if prior := past.pop(reused.origin, None):
                    if reused.attempt:
                        own.append(msgspec.structs.replace(prior.outcome, call=reused.call))
                case ToolCallStarted() as intent if intent.step == step:
                    begun[intent.call] = intent
                case CallSettled() as settled if doubted := begun.pop(settled.call, None):
                    own += filter(None, [settled_outcome(doubted, settled)])
                case TaskReviewed() as review if review.step == step:
                    reviews.append(review)
    return StepPast((*own, *past.values()), tuple(begun.values()), tuple(reviews))


async def past_of(
    log: EventLog, events: Sequence[Recorded], step: str
) -> tuple[list[Prior], dict[str, ToolCallStarted]]:
    """What a step has from the executions that one was forked from, the oldest execution first: the outcomes,
    and the tool calls that were begun there without one.

    Of a what-if those of tools only: its models are asked anew.
    """
    generations: list[tuple[str, Sequence[Recorded]]] = []
    edits: dict[Origin, str] = {}
    own = forked_from(events)
    while (fork := forked_from(events)) is not None:
        edits = {edit.origin: edit.result for edit in fork.edits} | edits
        events = await log.read_stream(f"execution-{fork.execution_id}")
        generations.insert(0, (fork.execution_id, events[: fork.at]))
    begun: dict[str, ToolCallStarted] = {}
    found = [prior for generation in generations for prior in priors(*generation, step, begun)]
    if own is not None and own.is_what_if:
        found = [prior for prior in found if not isinstance(prior.outcome, ModelCallCompleted)]
    return [with_edit(prior, edits.get(prior.origin)) for prior in found], begun


def forked_from(events: Sequence[Recorded]) -> ForkedFrom | None:
    return cast("ExecutionRequested", event_of(events[0])).forked_from if events else None


def priors(
    execution_id: str, events: Iterable[Recorded], step: str, begun: dict[str, ToolCallStarted]
) -> Iterator[Prior]:
    """The outcomes. Keeps `begun`, the tool calls without one, from execution to execution."""
    for recorded in events:
        outcome = outcome_in(recorded, step)
        if outcome is not None:
            begun.pop(outcome.call, None)
        elif recorded.tag in TOLD:
            match event_of(recorded):
                case ToolCallStarted() as intent if intent.step == step:
                    begun[intent.call] = intent
                case CallSettled() as settled if doubted := begun.pop(settled.call, None):
                    outcome = settled_outcome(doubted, settled)
        if outcome is not None:
            yield Prior(Origin(execution_id, recorded.version, outcome.call), outcome)


def outcome_in(recorded: Recorded, step: str) -> Journaled | None:
    """The known outcome of a call of the step, where it is whole."""
    if recorded.tag not in JOURNALED:
        return None
    event = cast("Journaled", event_of(recorded))
    content = getattr(event, "response", None) or getattr(event, "result", None)
    is_lost = content and content.is_truncated and not content.is_stored
    return None if event.step != step or is_lost else event


def with_edit(prior: Prior, result: str | None) -> Prior:
    """The outcome with the result that whoever forked has given it."""
    if result is None:
        return prior
    return Prior(prior.origin, with_result(prior.outcome, result), is_edited=True)


def with_result(outcome: Journaled, text: str) -> Journaled:
    whole = text.encode()
    content = Content(sha256(whole).hexdigest(), len(whole), text)
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
