"""Whatever comes, in whatever order and however often: a flow is where a few plain facts say that it is.

Crews that work, fail and are begun again; runners that die; people, one of whom is not enough; a signal, a
time, a map; pauses, retries, and everything once more.
"""

from __future__ import annotations

from typing import Any

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule
from msgspec.structs import replace

from domain.definition import Definition, Delay, Join, Limits, Map, Signal, Step, Task
from domain.errors import Draining, Held, NotFound, Rejected
from domain.execution import (
    CancelExecution,
    ExecutionCommands,
    Failure,
    PauseExecution,
    RecordProgress,
    RescheduleStep,
    ResumeExecution,
    RetryExecution,
    StartStep,
    Status,
    StepCompleted,
    StepFailed,
    StepStarted,
    StepStatus,
    TaskCompleted,
    TaskOutput,
)
from domain.message import Event
from domain.retries import Retry
from tests.domain.flow_facts import AT_ONCE, ITEMS, MOST_FAILURES, Facts
from tests.domain.flows import Run, crew, flow, gate

PEOPLE = st.sampled_from(["ada", "bob", "cy"])
WORK = st.sampled_from(["draft", "publish", "sorry", "sum", *(f"many--{number}" for number in range(ITEMS))])
SAYS = st.sampled_from(["approve", "approve", "reject", "retry"])
REFUSALS = (Rejected, NotFound, Draining)
TIMEOUT = Failure("timeout", "late")


def document() -> Definition:
    whole = flow(
        draft=crew("draft"),
        gate=gate(("draft",), approvals=2, on_reject="sorry", timeout_s=60),
        publish=crew("publish", ("gate",)),
        sorry=crew("sorry"),
        reply=Step(signal=Signal()),
        sum=crew("sum", Join(any=("publish", "sorry", "reply"))),
        rest=Step(wait=Delay(for_s=5)),
    )
    mapped = Map(over="[1, 2, 3]", tasks=("each",), max_parallel=AT_ONCE, on_failure="continue")
    each = Task(description="Do {item}", expected_output="done", agent="writer")
    return replace(
        whole,
        tasks={**whole.tasks, "each": each},
        steps={**whole.steps, "many": Step(map=mapped, after=("rest",))},
        retry=Retry(on=("timeout",), max_attempts=MOST_FAILURES),
        limits=Limits(max_attempts=100),
    )


class Flow(RuleBasedStateMachine):
    """The execution, and the facts about it as plain values."""

    def __init__(self) -> None:
        super().__init__()
        self.flow = Run(document())
        self.facts = Facts()
        self.reports: list[RecordProgress] = []

    @initialize(draft=st.booleans(), signal=st.booleans(), rest=st.booleans())
    def it_has_come_so_far(self, draft: bool, signal: bool, rest: bool) -> None:
        """Short runs, too, come to what lies deep."""
        if draft:
            self.a_runner_works_a_step(step="draft", is_done=True)
        if signal:
            self.a_signal_comes()
        if rest:
            self.a_time_comes(step="rest", is_old=False)

    def tried(self, action: Any, *arguments: Any, **fields: Any) -> list[Event] | None:
        """The events; None when it was refused, and then nothing may have changed."""
        before = self.flow.state
        try:
            events: list[Event] = action(*arguments, **fields)
        except Held:
            raise
        except REFUSALS:
            assert self.flow.state == before
            return None
        return events

    def claimed(self, step: str) -> bool:
        """Whether a runner gets the step as the queue gives it: one lease after the other of its turn."""
        known = self.flow.state.steps.get(step)
        turn, is_running = known.turn if known else 1, known and known.status is StepStatus.RUNNING
        delivery = known.delivery + 1 if known and is_running else 1
        claim = StartStep(execution_id="x", step=step, turn=turn, delivery=delivery, runner="r")
        try:
            return self.tried(self.flow.send, claim) is not None
        except Held:  # the attempt before was told to let go, and its runner is dead
            return self.tried(self.flow.send, replace(claim, insists=True)) is not None

    def reported(self, step: str, *, is_done: bool) -> None:
        known, number = self.flow.state.steps[step], step.rpartition("--")[2]
        task = f"each--{number}" if step.startswith("many--") else step
        at: dict[str, Any] = {"step": step, "attempt": known.attempt}
        done = TaskCompleted(**at, task=task, output=TaskOutput("done"), duration_ms=1)
        end = StepCompleted(**at) if is_done else StepFailed(**at, failure=TIMEOUT)
        report = RecordProgress(
            execution_id="x",
            step=step,
            attempt=known.attempt,
            after=known.recorded,
            entries=(done, end) if is_done else (end,),
        )
        self.reports.append(report)
        assert self.flow.send(report)

    @rule(step=WORK, is_done=st.sampled_from([True, True, False]))
    def a_runner_works_a_step(self, step: str, is_done: bool) -> None:
        can = self.facts.can_work(step)
        assert self.claimed(step) is can
        if can:
            self.facts.running.add(step)
            self.reported(step, is_done=is_done)
            (self.facts.is_through if is_done else self.facts.fails)(step)

    @precondition(lambda self: self.workable)
    @rule(data=st.data(), times=st.integers(1, MOST_FAILURES), is_done=st.booleans())
    def a_runner_works_what_there_is(self, data: st.DataObject, times: int, is_done: bool) -> None:
        step = data.draw(st.sampled_from(self.workable))
        for _ in range(1 if is_done else times):
            self.a_runner_works_a_step(step=step, is_done=is_done)

    @property
    def workable(self) -> list[str]:
        return [step for step in sorted(self.facts.steps()) if self.facts.can_work(step)]

    @rule(step=WORK)
    def a_runner_takes_a_step_and_dies(self, step: str) -> None:
        can = self.facts.can_work(step)
        assert self.claimed(step) is can
        if can:
            self.facts.running.add(step)

    @rule(step=WORK, data=st.data())
    def what_is_old_comes_again(self, step: str, data: st.DataObject) -> None:
        """A report, and a lease of a turn that is over."""
        if self.reports:
            assert not self.tried(self.flow.send, data.draw(st.sampled_from(self.reports)))
        known = self.flow.state.steps.get(step)
        turn = (known.turn if known else 1) - 1
        late = StartStep(execution_id="x", step=step, turn=turn, delivery=1, runner="old")
        assert not self.tried(self.flow.send, late)
        if not self.facts.failed:
            assert self.tried(self.flow.send, RetryExecution(execution_id="x")) is None

    @rule(step=WORK)
    def the_queue_is_lost(self, step: str) -> None:
        known = self.flow.state.steps.get(step)
        turn = known.turn if known else 1
        command = RescheduleStep(execution_id="x", step=step, turn=turn, reason="lost")
        self.tried(self.flow.send, command)
        if self.facts.is_open and not self.facts.paused:
            self.facts.running.discard(step)

    @rule(who=PEOPLE, says=SAYS, is_old=st.sampled_from([False, False, False, True]))
    def a_person_decides(self, who: str, says: str, is_old: bool) -> None:
        asked = self.facts.asked - is_old
        is_asked = self.facts.steps().get("gate") == "waiting" and not is_old and "draft" in self.facts.done
        can = self.facts.is_open and is_asked and who not in self.facts.agreed
        decided = self.tried(self.flow.decide, says, f"{asked}-gate", approver=who, comment="so")
        assert (decided is not None) is can
        if can and says == "approve":
            self.facts.agreed.add(who)
            self.facts.decision = "approved" if len(self.facts.agreed) == 2 else ""
        elif can and says == "reject":
            self.facts.decision = "rejected"
        elif can:
            self.facts.sends_back()

    @rule()
    def a_signal_comes(self) -> None:
        can = self.facts.is_open and self.facts.signals < 5
        if can or not self.facts.is_open:
            assert (self.tried(self.flow.signal, "reply", 1) is not None) is can
        self.facts.signals += can

    @rule(step=st.sampled_from(["rest", "rest", "gate", "reply", "many", "draft"]), is_old=st.booleans())
    def a_time_comes(self, step: str, is_old: bool) -> None:
        """Of what waits for one; a timer that was set before ends nothing."""
        wait = known.wait if (known := self.flow.state.steps.get(step)) else None
        is_due = self.facts.is_open and self.facts.steps().get(step) == "waiting" and not is_old
        rung = self.tried(self.flow.ring, step, "0-old" if is_old or wait is None else wait.id)
        assert bool(rung) is (is_due and step in ("rest", "gate"))
        if is_due and step == "rest":
            self.facts.rested = True
        elif is_due and step == "gate":
            self.facts.decision = "rejected"

    @rule(is_paused=st.booleans())
    def it_is_paused_or_resumed(self, is_paused: bool) -> None:
        command = (PauseExecution if is_paused else ResumeExecution)(execution_id="x")
        if self.tried(self.flow.send, command) is not None and self.facts.is_open:
            self.facts.paused = is_paused
            self.facts.running.clear() if is_paused else None

    @precondition(lambda self: self.facts.failed)
    @rule()
    def it_is_retried(self) -> None:
        retried = self.tried(self.flow.send, RetryExecution(execution_id="x"))
        assert retried is not None
        self.facts.is_retried()

    @precondition(lambda self: len(self.flow.events) > 40)
    @rule()
    def it_is_cancelled(self) -> None:
        cancel: ExecutionCommands = CancelExecution(execution_id="x")
        self.tried(self.flow.send, cancel)
        self.facts.cancelled = self.facts.cancelled or self.facts.is_open

    @invariant()
    def every_step_is_where_the_facts_say(self) -> None:
        steps = {name: str(step) for name, step in self.flow.statuses().items()}
        assert steps == self.pending(steps) | self.facts.steps()

    @staticmethod
    def pending(steps: dict[str, str]) -> dict[str, str]:
        """A step that was sent back is as if it had not begun."""
        return {name: status for name, status in steps.items() if status == "pending"}

    @invariant()
    def its_status_is_what_the_facts_say(self) -> None:
        status, facts = self.flow.state.status, self.facts
        if facts.cancelled:
            assert status is Status.CANCELLED
        elif facts.failed:
            assert status is Status.FAILED
        elif facts.is_complete:
            assert status is Status.COMPLETED
        elif facts.paused:
            assert status is Status.PAUSED
        else:
            is_active = {"scheduled", "running"} & set(facts.steps().values())
            assert (status is Status.WAITING) is not bool(is_active)
            assert status in (Status.WAITING, Status.PENDING, Status.RUNNING)

    @invariant()
    def no_number_is_used_twice(self) -> None:
        begun = [(event.step, event.attempt) for event in self.flow.events if isinstance(event, StepStarted)]
        assert len(begun) == len(set(begun))


TestFlow = Flow.TestCase
TestFlow.settings = settings(max_examples=80, stateful_step_count=50, deadline=None)
