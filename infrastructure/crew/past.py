"""What a run of a step knows of the attempts before it: outcomes, calls nobody knows of, people's answers.

Made by `StepRun` from its assignment. Its one rule: each known outcome is given once, in the order in which
they came about. Safe from any thread.
"""

from __future__ import annotations

from collections import defaultdict, deque
from collections.abc import Callable, Iterable
from contextlib import suppress

from application.ports import Assignment, Prior
from domain.execution import Journaled, TaskReviewed, ToolCallStarted, Wait

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


class Questions:
    """What people are asked, and what they have answered.

    unknown  tool calls that were begun, by id, of which nobody knows how they came out
    asks     whether a person is to be asked about such a call; set by who knows the tools
    """

    def __init__(self, assignment: Assignment) -> None:
        self.unknown = {intent.call: intent for intent in assignment.unknown}
        self.asks: Callable[[ToolCallStarted], bool] = lambda _: True
        self._reviews = {review.review: review for review in assignment.reviews}

    def about(self, intent: ToolCallStarted) -> Wait:
        """Whether this call, and all like it, have happened."""
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
        """What a person said of this answer, the number-th of its task; or that nobody has yet."""
        review = f"{task}:review:{number}"
        wait = Wait(kind="human_input", id=review, message=answer[:MAX_ANSWER_CHARACTERS])
        return self._reviews.get(review, wait)
