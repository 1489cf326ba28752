"""Two executions side by side: a fork and its parent, or any two.

A query on the stored events of `execution_history`. Its one rule: calls are compared task by task, in the
order in which each task made them, because tasks of one execution may run at the same time. A call that a
fork has taken from its past stands for the one that was made then.
"""

from __future__ import annotations

from collections.abc import Iterator
from hashlib import sha256
from itertools import zip_longest
from typing import Any, Literal

import msgspec

from domain.execution import (
    EXECUTION,
    CallReused,
    Content,
    Execution,
    ExecutionCompleted,
    ExecutionEvents,
    ExecutionFailed,
    Failure,
    ModelCallCompleted,
    ModelCallFailed,
    ModelCallStarted,
    Origin,
    Status,
    TaskOutput,
    ToolCallCompleted,
    ToolCallFailed,
    ToolCallStarted,
)
from projections.database.shape import ReadDatabase
from projections.differences import Change, differences
from projections.execution_history import HistoryEntry
from projections.execution_list import absent
from projections.execution_states import Spent, entries_of, plain, reached
from projections.projection import milliseconds_between

EXCERPT = 500
"""Characters of a request or an answer that a comparison shows; the history has the whole."""


class Call(msgspec.Struct, kw_only=True):
    """A model or tool call as one of the two made it.

    version          of the event that began it: where the history has it whole
    name             of the model or the tool; once there is an answer, of the model that answered
    reused_from      of a fork: the call was not made, this one's answer was taken; it cost nothing
    request_digest, answer_digest  SHA-256 of the whole texts
    request, answer  the beginning of the texts
    """

    call: str
    version: int
    name: str
    request_digest: str
    request: str
    answer_digest: str | None = None
    answer: str | None = None
    failure: Failure | None = None
    prompt_tokens: int = 0
    completion_tokens: int = 0
    cost_usd: float = 0.0
    duration_ms: int | None = None
    reused_from: Origin | None = None

    @property
    def likeness(self) -> tuple[Any, ...]:
        """What two calls that are the same have in common: not the model."""
        failed = self.failure.message if self.failure else None
        return (self.request_digest, self.answer_digest, failed)

    def take(self, source: Call | None, edit: str | None) -> None:
        """Be what was asked and answered then; edit: the result that whoever forked has given instead."""
        if source is not None:
            self.request_digest, self.request = source.request_digest, source.request
            self.answer_digest, self.answer, self.failure = (
                source.answer_digest,
                source.answer,
                source.failure,
            )
        if edit is not None:
            self.answer_digest, self.answer = sha256(edit.encode()).hexdigest(), edit[:EXCERPT]
            self.failure = None


class CallDiff(msgspec.Struct, frozen=True, kw_only=True):
    """A place in a task's calls where the two are not the same; number: 1.. within the task and kind."""

    task: str | None
    kind: Literal["model_call", "tool_call"]
    number: int
    change: Literal["changed", "added", "removed"]
    left: Call | None = None
    right: Call | None = None


class Side(msgspec.Struct, frozen=True, kw_only=True):
    """One of the two, as it stands. duration_ms: from the first event to the last."""

    execution_id: str
    version: int
    status: Status | None
    output: TaskOutput | None
    failure: Failure | None
    spent: Spent
    duration_ms: int


class ExecutionsDiff(msgspec.Struct, frozen=True, kw_only=True, tag_field="compares", tag="executions"):
    """Two executions.

    request           what was asked for differently: inputs, definition, models
    first_divergence  the first call, in the order of the right one's history, that is not as the left one's
    calls             the first `limit` of the calls that differ; differing_calls counts them all
    """

    left: Side
    right: Side
    request: tuple[Change, ...]
    first_divergence: CallDiff | None
    equal_calls: int
    differing_calls: int
    calls: tuple[CallDiff, ...]


Lane = tuple[str | None, Literal["model_call", "tool_call"]]


class Reading:
    """One execution while it is read: its state, its calls by lane, what it spent."""

    def __init__(self, execution_id: str) -> None:
        self.execution_id = execution_id
        self.state: Execution = EXECUTION.initial
        self.spent = Spent()
        self.output: TaskOutput | None = None
        self.failure: Failure | None = None
        self.lanes: dict[Lane, dict[str, Call]] = {}
        self.reused: list[tuple[Origin, Call]] = []
        self.first: HistoryEntry | None = None
        self.last: HistoryEntry | None = None

    def add(self, entry: HistoryEntry, event: ExecutionEvents) -> None:
        self.state = EXECUTION.evolve(self.state, event)
        self.spent.add(event)
        self.first, self.last = self.first or entry, entry
        match event:
            case ModelCallStarted():
                self._begin((event.task, "model_call"), event.call, event.model, event.request, entry)
            case ToolCallStarted():
                self._begin((event.task, "tool_call"), event.call, event.tool, event.arguments, entry)
            case CallReused():
                self._reuse(event, entry)
            case ModelCallCompleted() | ModelCallFailed():
                self._end((event.task, "model_call"), event)
            case ToolCallCompleted() | ToolCallFailed():
                self._end((event.task, "tool_call"), event)
            case ExecutionCompleted(output=output):
                self.output = output
            case ExecutionFailed(failure=failure):
                self.failure = failure

    def side(self) -> Side:
        """Raises `NotFound` for an execution without a history."""
        last = reached(self.execution_id, self.last, None)
        return Side(
            execution_id=self.execution_id,
            version=last.version,
            status=self.state.status,
            output=self.output,
            failure=self.failure,
            spent=self.spent,
            duration_ms=milliseconds_between((self.first or last).at, last.at),
        )

    def _begin(self, lane: Lane, call: str, name: str, request: Content, entry: HistoryEntry) -> None:
        begun = Call(
            call=call,
            version=entry.version,
            name=name,
            request_digest=request.digest,
            request=request.text[:EXCERPT],
        )
        self.lanes.setdefault(lane, {})[call] = begun

    def _reuse(self, event: CallReused, entry: HistoryEntry) -> None:
        call = Call(
            call=event.call,
            version=entry.version,
            name=event.tool or event.model or "",
            request_digest="",
            request="",
            reused_from=event.origin,
        )
        kind: Literal["model_call", "tool_call"] = "tool_call" if event.tool else "model_call"
        self.lanes.setdefault((event.task, kind), {})[event.call] = call
        self.reused.append((event.origin, call))

    def find(self, call: str) -> Call | None:
        return next((calls[call] for calls in self.lanes.values() if call in calls), None)

    @property
    def edits(self) -> dict[Origin, str]:
        """Results that whoever forked has given in place of those of then."""
        fork = self.state.request.forked_from if self.state.request else None
        return {edit.origin: edit.result for edit in fork.edits} if fork else {}

    def _end(
        self, lane: Lane, event: ModelCallCompleted | ModelCallFailed | ToolCallCompleted | ToolCallFailed
    ) -> None:
        call = self.lanes.get(lane, {}).get(event.call)
        if call is None:
            return
        call.duration_ms = event.duration_ms
        match event:
            case ModelCallCompleted():
                call.name, call.cost_usd = event.model, event.cost_usd
                call.prompt_tokens, call.completion_tokens = event.prompt_tokens, event.completion_tokens
                call.answer_digest, call.answer = event.response.digest, event.response.text[:EXCERPT]
            case ToolCallCompleted():
                call.answer_digest, call.answer = event.result.digest, event.result.text[:EXCERPT]
            case ModelCallFailed() | ToolCallFailed():
                call.failure = event.failure


async def diff_executions(
    read_db: ReadDatabase, tenant: str, left: str, right: str, *, limit: int
) -> ExecutionsDiff:
    """Raises `NotFound`, `Archived` when there is not one of them."""
    known: dict[str, Reading] = {}
    for execution_id in (left, right):
        if execution_id not in known:
            await read_execution(read_db, tenant, execution_id, known)
        if known[execution_id].last is None:
            raise await absent(read_db, tenant, execution_id)
    one, other = known[left], known[right]
    sides = one.side(), other.side()
    found = list(call_differences(one, other))
    calls = sum(
        max(len(one.lanes.get(lane, ())), len(other.lanes.get(lane, ()))) for lane in lanes(one, other)
    )
    return ExecutionsDiff(
        left=sides[0],
        right=sides[1],
        request=tuple(differences(plain(one.state.request), plain(other.state.request))),
        first_divergence=min(found, key=place, default=None),
        equal_calls=calls - len(found),
        differing_calls=len(found),
        calls=tuple(sorted(found, key=place)[:limit]),
    )


async def read_execution(
    read_db: ReadDatabase, tenant: str, execution_id: str, known: dict[str, Reading]
) -> None:
    """Into `known`, and before it whatever its calls were taken from."""
    reading = known[execution_id] = Reading(execution_id)
    async for entry, event in entries_of(read_db, tenant, execution_id):
        reading.add(entry, event)
    edits = reading.edits
    for origin, call in reading.reused:
        if origin.execution_id not in known:
            await read_execution(read_db, tenant, origin.execution_id, known)
        call.take(known[origin.execution_id].find(origin.call), edits.get(origin))


def lanes(left: Reading, right: Reading) -> list[Lane]:
    return list(dict.fromkeys((*left.lanes, *right.lanes)))


def call_differences(left: Reading, right: Reading) -> Iterator[CallDiff]:
    for lane in lanes(left, right):
        pairs = zip_longest(left.lanes.get(lane, {}).values(), right.lanes.get(lane, {}).values())
        for number, (one, other) in enumerate(pairs, 1):
            if one is None or other is None or one.likeness != other.likeness:
                change: Literal["changed", "added", "removed"] = (
                    "added" if one is None else "removed" if other is None else "changed"
                )
                yield CallDiff(
                    task=lane[0], kind=lane[1], number=number, change=change, left=one, right=other
                )


def place(diff: CallDiff) -> tuple[int, int]:
    """Where it is in the right one's history; calls that only the left one made come last."""
    if diff.right is not None:
        return (0, diff.right.version)
    return (1, diff.left.version if diff.left is not None else 0)
