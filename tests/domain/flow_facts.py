"""Where a flow is, worked out from a few plain facts: the oracle of `test_flow_machine`.

Its one rule: it knows nothing of events, turns or states; it is what the documentation says, in `if`s.
"""

from __future__ import annotations

from dataclasses import dataclass, field

MOST_FAILURES = 2
ITEMS = 3
AT_ONCE = 2


@dataclass
class Facts:
    """
    done       crews that are through; running: crews and items that a runner has
    failures   by crew or item, since it was begun or the execution was retried
    asked      how often people were; agreed: who has, since; decision: how it ended, "" while it is open
    signals    that came; rested: the time of the wait is over
    items      that are through, or were left out
    failed     the crew that ended the execution
    """

    done: set[str] = field(default_factory=set)
    running: set[str] = field(default_factory=set)
    failures: dict[str, int] = field(default_factory=dict)
    asked: int = 0
    agreed: set[str] = field(default_factory=set)
    decision: str = ""
    signals: int = 0
    rested: bool = False
    items: set[int] = field(default_factory=set)
    failed: str = ""
    paused: bool = False
    cancelled: bool = False

    @property
    def is_open(self) -> bool:
        return not (self.cancelled or self.failed or self.is_complete)

    @property
    def is_complete(self) -> bool:
        steps = self.steps()
        return len(steps) == 8 and not {"scheduled", "running", "waiting", "failed"} & set(steps.values())

    def can_work(self, step: str) -> bool:
        """Whether a runner can have the step now."""
        return self.is_open and not self.paused and self.steps().get(step) in ("scheduled", "running")

    def steps(self) -> dict[str, str]:
        """Every step that has begun, was skipped, or waits."""
        steps = {"draft": self._crew("draft")}
        if "draft" in self.done:
            steps["gate"] = {"": "waiting", "approved": "completed", "rejected": "rejected"}[self.decision]
        if self.decision:
            to, away = ("publish", "sorry") if self.decision == "approved" else ("sorry", "publish")
            steps[away], steps[to] = "skipped", self._crew(to)
        steps["reply"] = "completed" if self.signals else "waiting"
        if self.signals or {"publish", "sorry"} & self.done:
            steps["sum"] = self._crew("sum")
        steps["rest"] = "completed" if self.rested else "waiting"
        if self.rested:
            steps["many"] = "completed" if len(self.items) == ITEMS else "waiting"
            for number in range(min(ITEMS, AT_ONCE + len(self.items))):
                if number not in self.items:
                    steps[f"many--{number}"] = self._crew(f"many--{number}")
        return steps

    def _crew(self, name: str) -> str:
        if name == self.failed:
            return "failed"
        return "completed" if name in self.done else "running" if name in self.running else "scheduled"

    def fails(self, step: str) -> None:
        """It begins again so often; then the execution ends, or the map goes on without the item."""
        self.running.discard(step)
        self.failures[step] = self.failures.get(step, 0) + 1
        if self.failures[step] < MOST_FAILURES:
            return
        if step.startswith("many--"):
            self.is_through(step)
        else:
            self.failed = step

    def is_through(self, step: str) -> None:
        self.running.discard(step)
        if step.startswith("many--"):
            self.items.add(int(step[6:]))
        else:
            self.done.add(step)
        if step == "draft":
            self.asks()

    def asks(self) -> None:
        self.asked, self.agreed, self.decision = self.asked + 1, set(), ""

    def sends_back(self) -> None:
        """The draft is written again, and then people are asked again."""
        self.done.discard("draft")

    def is_retried(self) -> None:
        """What had not come to its end begins again; people are asked again."""
        self.failed, self.running, self.failures = "", set(), {}
        if self.steps().get("gate") == "waiting":
            self.asks()
