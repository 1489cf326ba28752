"""Any commands in any order: what an execution's life never breaks, and what its read models say of it.

A Hypothesis state machine over `decide`. Its oracle is a plain dict of what each runner was told: who may
still report, and which calls are in the log.
"""

from __future__ import annotations

from typing import Any

import msgspec
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from domain.definition import Limits
from domain.errors import Rejected
from domain.execution import (
    CancelExecution,
    Content,
    Drained,
    Execution,
    Failure,
    ModelCallCompleted,
    ModelCallStarted,
    PauseExecution,
    Progress,
    RecordProgress,
    RescheduleStep,
    ResumeExecution,
    RetryExecution,
    StartStep,
    Status,
    StepCompleted,
    StepFailed,
    StepReleased,
    StepStatus,
    StepSuspended,
    TaskCompleted,
    TaskOutput,
    TimeOutExecution,
    Wait,
)
from domain.retries import Retry
from projections import ALL
from projections.execution_detail import DETAILS
from projections.execution_list import EXECUTIONS
from projections.open_steps import OPEN
from projections.projection import facts_of
from tests.domain.examples import diamond
from tests.projections.histories import History, request
from tests.projections.oracle import PlainRows

STEPS = ("first", "left", "right", "last")
TASKS = dict(zip(STEPS, ("one", "two", "three", "four"), strict=True))
STEP = st.sampled_from(STEPS)
TEXT = Content("d", 1, "?")


class Life(RuleBasedStateMachine):
    """recorded: entries by (step, attempt), as its runner counts them."""

    @initialize()
    def request(self) -> None:
        document = msgspec.structs.replace(
            diamond(max_attempts=2),
            limits=Limits(max_attempts=2, timeout_s=900),
            retry=Retry(max_attempts=2, on=("timeout",)),
        )
        self.history = History()
        self.history.handle(request("e1", document))
        self.recorded: dict[tuple[str, int], int] = {}
        self.attempts: dict[str, int] = {}
        self.rows = PlainRows()
        self.folded = 0
        self.calls = 0

    @property
    def state(self) -> Execution:
        state: Execution = self.history.state("execution-e1")
        return state

    def send(self, command: Any) -> bool:
        """Whether it was allowed. One that is not changes nothing."""
        before = len(self.history.events)
        try:
            self.history.handle(command)
        except Rejected:
            assert len(self.history.events) == before
            return False
        return True

    @rule(step=STEP, delivery=st.integers(1, 3), back=st.integers(0, 1), insists=st.booleans())
    def claim(self, step: str, delivery: int, back: int, insists: bool) -> None:
        known = self.state.steps.get(step)
        turn = max(1, (known.turn if known else 1) - back)
        was_draining = known is not None and known.draining is not None
        claim = StartStep(
            execution_id="e1", step=step, turn=turn, delivery=delivery, runner=f"r{delivery}", insists=insists
        )
        before = known.attempt if known else 0
        if self.send(claim) and (now := self.state.steps[step].attempt) != before:
            assert now == before + 1
            assert insists or not was_draining
            self.recorded[step, now] = 0

    def report(self, step: str, attempt: int, *entries: Progress) -> None:
        key = (step, attempt)
        if key not in self.recorded:
            return
        known = self.state.steps[step]
        may_begin = self.state.is_open and known.attempt == attempt and known.status is StepStatus.RUNNING
        may_drain = self.state.is_open and known.attempt == attempt and known.lease is not None
        command = RecordProgress(
            execution_id="e1", step=step, attempt=attempt, after=self.recorded[key], entries=entries
        )
        if self.send(command):
            begins = not all(isinstance(entry, Drained) for entry in entries)
            assert may_begin if begins else may_drain
            self.recorded[key] += len(entries)
            version = len(self.history.events)
            assert self.send(command) or isinstance(entries[-1], StepReleased)
            assert len(self.history.events) == version, "a report that comes twice changed something"

    @rule(step=STEP, back=st.integers(0, 1))
    def call(self, step: str, back: int) -> None:
        attempt = self.attempt_of(step) - back
        self.calls += 1
        call = f"c{self.calls}"
        begun = ModelCallStarted(
            step=step, attempt=attempt, call=call, model="demo/writer", request=TEXT, task=TASKS[step]
        )
        self.report(step, attempt, begun)
        answered = ModelCallCompleted(
            step=step,
            attempt=attempt,
            call=call,
            model="demo/writer",
            response=TEXT,
            prompt_tokens=1,
            completion_tokens=1,
            cost_usd=0.0,
            duration_ms=1,
            task=TASKS[step],
        )
        if any(call in recorded.body.decode() for recorded in self.history.events):
            self.report(step, attempt, answered)

    @rule(step=STEP)
    def complete(self, step: str) -> None:
        attempt = self.attempt_of(step)
        output = TaskOutput("done")
        self.report(
            step,
            attempt,
            TaskCompleted(step=step, attempt=attempt, task=TASKS[step], output=output, duration_ms=1),
            StepCompleted(step=step, attempt=attempt),
        )

    @rule(step=STEP, code=st.sampled_from(("timeout", "auth")))
    def fail(self, step: str, code: str) -> None:
        attempt = self.attempt_of(step)
        self.report(step, attempt, StepFailed(step=step, attempt=attempt, failure=Failure(code, "no")))

    @rule(step=STEP)
    def suspend(self, step: str) -> None:
        attempt = self.attempt_of(step)
        wait = Wait(kind="human_input", id=f"{step}-{attempt}", message="Is this right?")
        self.report(step, attempt, StepSuspended(step=step, attempt=attempt, wait=wait))

    @rule(step=STEP, back=st.integers(0, 1))
    def release(self, step: str, back: int) -> None:
        known = self.state.steps.get(step)
        if known is not None and known.draining is not None:
            attempt = self.attempt_of(step) - back
            self.report(step, attempt, StepReleased(step=step, attempt=attempt))

    @rule(step=STEP)
    def reschedule(self, step: str) -> None:
        if (known := self.state.steps.get(step)) is not None:
            self.send(RescheduleStep(execution_id="e1", step=step, turn=known.turn, reason="queue lost"))

    @rule()
    def pause(self) -> None:
        allowed = self.state.is_open
        assert self.send(PauseExecution(execution_id="e1")) is allowed
        assert not allowed or self.state.status is Status.PAUSED

    @rule()
    def resume(self) -> None:
        before = self.state.status
        if self.send(ResumeExecution(execution_id="e1")) and before is Status.PAUSED:
            assert self.state.status in (Status.PENDING, Status.WAITING)

    @precondition(lambda self: self.state.status in (Status.FAILED, Status.TIMED_OUT))
    @rule()
    def retry(self) -> None:
        outputs = dict(self.state.outputs)
        assert self.send(RetryExecution(execution_id="e1"))
        assert self.state.status is Status.PENDING
        assert self.state.outputs == outputs

    @rule(spent_s=st.sampled_from((1.0, 900.0)), luck=st.integers(0, 5))
    def ring(self, spent_s: float, luck: int) -> None:
        counts = self.state.status in (Status.PENDING, Status.RUNNING)
        if luck == 0:
            self.send(TimeOutExecution(execution_id="e1", spent_s=spent_s))
            assert not counts or (self.state.status is Status.TIMED_OUT) is (spent_s >= 900)

    @rule(luck=st.integers(0, 9))
    def cancel(self, luck: int) -> None:
        if luck == 0:
            self.send(CancelExecution(execution_id="e1"))

    def attempt_of(self, step: str) -> int:
        known = self.state.steps.get(step)
        return known.attempt if known else 0

    @invariant()
    def attempts_only_grow(self) -> None:
        for step, known in self.state.steps.items():
            assert known.attempt >= self.attempts.get(step, 0)
            self.attempts[step] = known.attempt

    @invariant()
    def an_open_execution_can_go_on(self) -> None:
        """Nothing is stuck: something is with a runner or on the way to one, or it waits, or is paused."""
        state = self.state
        statuses = {step.status for step in state.steps.values()}
        if state.status in (Status.PENDING, Status.RUNNING):
            assert statuses & {StepStatus.SCHEDULED, StepStatus.RUNNING}
        if state.status is Status.WAITING:
            assert StepStatus.WAITING in statuses
            assert not statuses & {StepStatus.SCHEDULED, StepStatus.RUNNING}

    @invariant()
    def read_models_say_the_same(self) -> None:
        for fact in facts_of(self.history.events[self.folded :]):
            for projection in ALL:
                if fact.category in projection.categories:
                    projection.fold(self.rows, fact)
        self.folded = len(self.history.events)
        state, detail = self.state, self.rows.get(DETAILS, "e1")
        listed, opened = self.rows.get(EXECUTIONS, "e1"), self.rows.get(OPEN, "e1")
        assert detail is not None
        assert listed is not None
        assert detail.status == listed.status == state.status
        waits = {name: step.wait.id for name, step in state.steps.items() if step.wait}
        active = {name for name, step in state.steps.items() if step.status.is_active}
        if state.is_open:
            assert {wait.step: wait.id for wait in detail.waits} == waits
            assert set(detail.active_steps) == active
            assert opened is not None
            assert (
                state.status is Status.PAUSED
                or {name for name, step in opened.steps.items() if step.status != "waiting"} == active
            )
            shown = {step.step: step.status for step in detail.steps}
            assert all(shown[name] == step.status for name, step in state.steps.items())
        else:
            assert opened is None
            assert not detail.waits


Life.TestCase.settings = settings(
    max_examples=100,
    stateful_step_count=60,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much],
)
TestLife = Life.TestCase
