"""Whatever comes, in whatever order and however often: a flow is where a few plain facts say that it is."""

from __future__ import annotations

from typing import Any

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from domain.definition import Join, Signal, Step
from domain.errors import Draining, NotFound, Rejected
from domain.execution import (
    CancelExecution,
    PauseExecution,
    RescheduleStep,
    ResumeExecution,
    StartStep,
    Status,
)
from domain.message import Event
from tests.domain.flows import Run, crew, flow, gate

PEOPLE = st.sampled_from(["ada", "bob", "cy"])
CREWS = st.sampled_from(["draft", "publish", "sorry", "sum"])
REFUSALS = (Rejected, NotFound, Draining)


def document() -> Any:
    return flow(
        draft=crew("draft"),
        gate=gate(("draft",), approvals=2, on_reject="sorry"),
        publish=crew("publish", ("gate",)),
        sorry=crew("sorry"),
        reply=Step(signal=Signal()),
        sum=crew("sum", Join(any=("publish", "sorry", "reply"))),
    )


def expected(facts: dict[str, Any]) -> dict[str, str]:
    """Where every step is, from the facts alone: crews that are through, who agreed, what was sent."""
    done, agreed = facts["done"], len(facts["agreed"]) >= 2
    decided = agreed or facts["rejected"]
    steps = {"draft": "completed" if "draft" in done else "scheduled"}
    if "draft" in done:
        steps["gate"] = "completed" if agreed else "rejected" if facts["rejected"] else "waiting"
    if decided:
        to, away = ("publish", "sorry") if agreed else ("sorry", "publish")
        steps[away] = "skipped"
        steps[to] = "completed" if to in done else "scheduled"
    steps["reply"] = "completed" if facts["signals"] else "waiting"
    if facts["signals"] or {"publish", "sorry"} & done:
        steps["sum"] = "completed" if "sum" in done else "scheduled"
    return steps


class Flow(RuleBasedStateMachine):
    """The execution, and the facts about it as plain values."""

    def __init__(self) -> None:
        super().__init__()
        self.flow = Run(document())
        self.facts: dict[str, Any] = {
            "done": set(),
            "agreed": set(),
            "rejected": False,
            "signals": 0,
            "paused": False,
            "cancelled": False,
        }

    @property
    def is_open(self) -> bool:
        return not self.facts["cancelled"] and not self.is_complete

    @property
    def is_complete(self) -> bool:
        steps = expected(self.facts)
        return len(steps) == 6 and not {"scheduled", "waiting"} & set(steps.values())

    def tried(self, action: Any, *arguments: Any, **fields: Any) -> list[Event] | None:
        """The events; None when it was refused, and then nothing may have changed."""
        before = self.flow.state
        try:
            events: list[Event] = action(*arguments, **fields)
        except REFUSALS:
            assert self.flow.state == before
            return None
        return events

    @rule(step=CREWS)
    def a_runner_works_a_step(self, step: str) -> None:
        can = self.is_open and not self.facts["paused"] and expected(self.facts).get(step) == "scheduled"
        if step in self.flow.state.steps:
            before = len(self.flow.events)
            worked = self.tried(self.flow.run, step)
            assert (worked is not None) is can, (step, self.flow.events[before:])
        if can:
            self.facts["done"].add(step)

    @rule(who=PEOPLE, says=st.sampled_from(["approve", "reject"]))
    def a_person_decides(self, who: str, says: str) -> None:
        asked = expected(self.facts).get("gate") == "waiting"
        can = self.is_open and asked and who not in self.facts["agreed"]
        assert (self.tried(self.flow.decide, says, approver=who) is not None) is can
        if can and says == "approve":
            self.facts["agreed"].add(who)
        elif can:
            self.facts["rejected"] = True

    @rule()
    def a_signal_comes(self) -> None:
        can = self.is_open and self.facts["signals"] < 5
        if can or not self.is_open:
            assert (self.tried(self.flow.signal, "reply", 1) is not None) is can
        self.facts["signals"] += can

    @rule(step=CREWS)
    def the_queue_is_lost(self, step: str) -> None:
        known = self.flow.state.steps.get(step)
        turn = known.turn if known else 1
        command = RescheduleStep(execution_id="x", step=step, turn=turn, reason="lost")
        self.tried(self.flow.send, command)

    @rule(step=CREWS)
    def an_old_lease_comes_again(self, step: str) -> None:
        known = self.flow.state.steps.get(step)
        turn = (known.turn if known else 1) - 1
        late = StartStep(execution_id="x", step=step, turn=turn, delivery=1, runner="old")
        assert not self.tried(self.flow.send, late)

    @rule(is_paused=st.booleans())
    def it_is_paused_or_resumed(self, is_paused: bool) -> None:
        kind = PauseExecution if is_paused else ResumeExecution
        if self.tried(self.flow.send, kind(execution_id="x")) is not None and self.is_open:
            self.facts["paused"] = is_paused

    @precondition(lambda self: len(self.flow.events) > 12)
    @rule()
    def it_is_cancelled(self) -> None:
        self.tried(self.flow.send, CancelExecution(execution_id="x"))
        self.facts["cancelled"] = self.facts["cancelled"] or not self.is_complete

    @invariant()
    def every_step_is_where_the_facts_say(self) -> None:
        assert {name: str(step) for name, step in self.flow.statuses().items()} == expected(self.facts)

    @invariant()
    def it_ends_when_every_step_has(self) -> None:
        status = self.flow.state.status
        if self.facts["cancelled"]:
            assert status is Status.CANCELLED
        else:
            assert (status is Status.COMPLETED) is self.is_complete


TestFlow = Flow.TestCase
TestFlow.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)
