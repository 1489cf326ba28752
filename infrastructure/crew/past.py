"""What a run of a step knows of the attempts before it: outcomes, calls nobody knows of, people's answers.

Made by `StepRun` from its assignment. Its one rule: each known outcome is given once, in the order in which
they came about. Safe from any thread.
"""

from __future__ import annotations

from collections import defaultdict, deque
from collections.abc import Callable, Iterable
from contextlib import suppress
from hashlib import sha256
from typing import cast

from application.contents import digest_of
from application.ports import Assignment, Prior
from domain.definition import Json
from domain.execution import (
    CallReused,
    Failure,
    Journaled,
    ModelCallCompleted,
    ModelCallStarted,
    Progress,
    TaskReviewed,
    ToolCallCompleted,
    ToolCallStarted,
    Wait,
)
from domain.execution.past import reused
from infrastructure.crew.contents import canonical
from infrastructure.tools import UnknownOutcome

MAX_ANSWER_CHARACTERS = 4_000
"""Of an answer that a person is to approve: its beginning; the journal has it whole."""

MAX_ARGUMENTS_CHARACTERS = 500


class Journal:
    """The known outcomes, by call: of earlier attempts, and of a fork's past."""

    def __init__(self, entries: Iterable[Journaled | Prior]) -> None:
        self._known: defaultdict[str, deque[Journaled | Prior]] = defaultdict(deque)
        for entry in entries:
            self._known[entry.origin.call if isinstance(entry, Prior) else entry.call].append(entry)

    def take(self, calls: Iterable[str]) -> Journaled | Prior | None:
        """The next outcome of the first of these calls that has one."""
        for call in calls:
            with suppress(IndexError):
                if call in self._known:
                    return self._known[call].popleft()
        return None


def is_lost(outcome: Journaled) -> bool:
    """Whether the text that a call answered is not stored any more."""
    match outcome:
        case ModelCallCompleted():
            return outcome.response.is_truncated
        case ToolCallCompleted():
            return outcome.result.is_truncated
        case _:
            return False


def taken_over(known: Prior, call: str, agent: str | None, attempt: int) -> CallReused:
    """The event of an outcome that is taken from the past of a fork, for this call."""
    return reused(
        known.outcome, known.origin, agent=agent, attempt=attempt, call=call, is_edited=known.is_edited
    )


def diverged(task: str | None, request: Json) -> Failure:
    """A what-if came to a tool call that its past does not hold."""
    asked = canonical(request)[:MAX_ARGUMENTS_CHARACTERS]
    message = f"the past holds no answer to this tool call, and a what-if runs no tool: {asked}"
    return Failure("what_if_diverged", message, task)


class Questions:
    """What people are asked, and what they have answered.

    unknown  tool calls that were begun, by id, of which nobody knows how they came out
    asks     whether a person is to be asked about such a call; set by who knows the tools
    """

    def __init__(self, assignment: Assignment) -> None:
        self.unknown = {unknown.intent.call: unknown.intent for unknown in assignment.unknown}
        self._begun_by = {each.intent.call: each.begun_by for each in assignment.unknown if each.begun_by}
        self._execution_id = assignment.execution_id
        self.asks: Callable[[ToolCallStarted], bool] = lambda _: True
        self._is_what_if = assignment.is_what_if
        self._reviews = {(past.said.review, past.shown): past.said for past in assignment.reviews}

    def key(self, call: str) -> str:
        """What a server knows a tool call by, unique among all: that of the execution which first sent it."""
        begun_by = self._begun_by.get(call, self._execution_id)
        return sha256(f"{begun_by} {call}".encode()).hexdigest()

    def about(self, intent: ToolCallStarted, policy: UnknownOutcome) -> Wait | Failure | None:
        """What a call whose outcome nobody knows leads to; None: it is sent again."""
        match policy:
            case "ask":
                return self._whether_they_happened(intent)
            case "fail":
                message = f"{intent.tool} was called, and nobody knows whether that happened"
                return Failure("unknown_outcome", message, intent.task)
            case "resend":
                return None

    def about_lost(self, intent: Progress, policy: UnknownOutcome, *, of_fork: bool) -> Wait | Failure | None:
        """The same for a call that has an outcome whose text is not stored any more.

        A model is not asked again: another answer would lead to other calls of tools. of_fork: the call was
        made by another execution, under a key of its own.
        """
        if isinstance(intent, ToolCallStarted) and policy == "resend" and not of_fork:
            return None
        if isinstance(intent, ToolCallStarted) and policy != "fail" and not self._is_what_if:
            asked = f"{intent.tool} {intent.arguments.text[:MAX_ARGUMENTS_CHARACTERS]}"
            message = f"This happened, and what it answered is not stored any more: {asked}"
            return Wait(kind="unknown_outcome", id=intent.call, message=message)
        call = cast("ModelCallStarted | ToolCallStarted", intent)
        return Failure("content_lost", f"what {call.call!r} answered is not stored any more", call.task)

    def _whether_they_happened(self, intent: ToolCallStarted) -> Wait:
        """This call, and all like it."""
        others = [other for call, other in self.unknown.items() if call != intent.call and self.asks(other)]
        calls = [
            f"{each.tool} {each.arguments.text[:MAX_ARGUMENTS_CHARACTERS]}" for each in (intent, *others)
        ]
        return Wait(
            kind="unknown_outcome",
            id=intent.call,
            message=f"Did this happen? {'; '.join(calls)}"[:MAX_ANSWER_CHARACTERS],
            others=tuple(other.call for other in others),
        )

    def review(self, task: str, number: int, answer: str) -> TaskReviewed | Wait:
        """What a person said of this answer, the number-th of its task; or that nobody has yet. What was said
        of another answer counts for nothing."""
        shown = answer[:MAX_ANSWER_CHARACTERS]
        wait = Wait(kind="human_input", id=f"{task}:review:{number}", message=shown)
        return self._reviews.get((wait.id, digest_of(shown.encode(errors="replace"))), wait)
