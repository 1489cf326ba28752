"""A runner that works executions through, well or badly: what makes a history of executions realistic.

Used by `histories.py`.
"""

from __future__ import annotations

import hashlib
import random
from collections.abc import Iterator, Sequence
from typing import Any, Protocol

from domain.errors import Rejected
from domain.execution import (
    CancelExecution,
    Content,
    Failure,
    ModelCallCompleted,
    ModelCallFailed,
    ModelCallStarted,
    PauseExecution,
    Progress,
    RecordProgress,
    RescheduleStep,
    ResumeExecution,
    RetryExecution,
    StartStep,
    StepCompleted,
    StepFailed,
    StepSuspended,
    TaskCompleted,
    TaskFailed,
    TaskOutput,
    TaskStarted,
    ToolCallCompleted,
    ToolCallFailed,
    ToolCallStarted,
    Wait,
)
from domain.registry import AnyCommand

MODELS = ("openai/gpt-4o-mini", "demo/writer")


class Commands(Protocol):
    """Where the runner sends commands, and looks."""

    def handle(self, command: AnyCommand, *, tenant: str = "default", actor: str = "user:ada") -> None: ...

    def state(self, stream: str) -> Any: ...


def content(text: str) -> Content:
    digest = hashlib.sha256(text.encode()).hexdigest()
    return Content(digest=digest, size_bytes=len(text.encode()), text=text)


class Runner:
    """Works one execution through, a command at a time; how it goes is up to the dice."""

    def __init__(self, history: Commands, execution_id: str, dice: random.Random, tenant: str) -> None:
        self._history = history
        self._id = execution_id
        self._dice = dice
        self._tenant = tenant
        self._calls = 0

    def work(self) -> Iterator[None]:
        """Each `next` sends a command or two, until the execution has ended."""
        while (state := self._history.state(f"execution-{self._id}")).is_open:
            active = ((n, s) for n, s in state.steps.items() if s.status in ("scheduled", "running"))
            name, step = next(active, ("", None))
            if step is None or self._dice.random() < 0.03:
                self._send(CancelExecution(execution_id=self._id, reason="changed my mind"))
                return
            if self._dice.random() < 0.05:
                self._send(PauseExecution(execution_id=self._id, reason="lunch"))
                yield
                self._send(ResumeExecution(execution_id=self._id))
                yield
                continue
            if self._dice.random() < 0.08:
                self._send(
                    RescheduleStep(execution_id=self._id, step=name, turn=step.turn, reason="queue lost")
                )
                yield
                continue
            delivery = step.delivery + 1
            runner = f"r{self._dice.randint(1, 3)}"
            self._send(
                StartStep(
                    execution_id=self._id,
                    step=name,
                    turn=step.turn,
                    delivery=delivery,
                    runner=runner,
                    insists=True,
                )
            )
            yield
            yield from self._run_step(name)
        if state.status == "FAILED" and self._dice.random() < 0.4:
            self._send(RetryExecution(execution_id=self._id))
            yield from self.work()

    def _run_step(self, name: str) -> Iterator[None]:
        state = self._history.state(f"execution-{self._id}")
        if not state.is_open:
            return
        attempt, recorded = state.steps[name].attempt, 0
        for entries in self._reports(name, attempt, state.definition.tasks_of(name)):
            if self._dice.random() < 0.02:
                return
            if self._dice.random() < 0.02:
                wait = Wait(kind="human_input", id=f"{name}-{attempt}", message="Is this right?")
                yield from self._suspended(name, attempt, recorded, wait)
                return
            report = RecordProgress(
                execution_id=self._id, step=name, attempt=attempt, after=recorded, entries=tuple(entries)
            )
            try:
                self._send(report)
            except Rejected:
                return
            recorded += len(entries)
            yield

    def _suspended(self, step: str, attempt: int, recorded: int, wait: Wait) -> Iterator[None]:
        """A wait, which a pause and its end do not end."""
        asks = StepSuspended(step=step, attempt=attempt, wait=wait)
        report = RecordProgress(
            execution_id=self._id, step=step, attempt=attempt, after=recorded, entries=(asks,)
        )
        self._send(report)
        yield
        self._send(PauseExecution(execution_id=self._id))
        yield
        self._send(ResumeExecution(execution_id=self._id))

    def _reports(self, step: str, attempt: int, tasks: Sequence[str]) -> Iterator[list[Progress]]:
        for task in tasks:
            yield [TaskStarted(step=step, attempt=attempt, task=task, agent="writer")]
            for _ in range(self._dice.randint(1, 2)):
                yield from self._call(step, attempt, task)
            if self._dice.random() < 0.04:
                failure = Failure("model_error", "the model gave up", task)
                yield [
                    TaskFailed(step=step, attempt=attempt, task=task, failure=failure, duration_ms=900),
                    StepFailed(step=step, attempt=attempt, failure=failure),
                ]
                return
            output = TaskOutput(f"The result of {task}: naïve café")
            yield [TaskCompleted(step=step, attempt=attempt, task=task, output=output, duration_ms=1_200)]
        yield [StepCompleted(step=step, attempt=attempt)]

    def _call(self, step: str, attempt: int, task: str) -> Iterator[list[Progress]]:
        self._calls += 1
        where = {"step": step, "attempt": attempt, "task": task, "call": f"c{self._calls}"}
        model = self._dice.choice(MODELS)
        yield [ModelCallStarted(**where, model=model, request=content(f"Please {task}"))]  # type: ignore[arg-type]
        if self._dice.random() < 0.1:
            failed = ModelCallFailed(**where, failure=Failure("timeout", "no answer"), duration_ms=120)  # type: ignore[arg-type]
            yield [failed]
            return
        completed = ModelCallCompleted(
            **where,  # type: ignore[arg-type]
            model=model,
            response=content(f"Done: {task}"),
            prompt_tokens=self._dice.randint(10, 900),
            completion_tokens=self._dice.randint(1, 300),
            cost_usd=self._dice.randint(1, 999) / 1e6,
            duration_ms=self._dice.randint(50, 2_000),
        )
        yield [completed]
        if self._dice.random() < 0.3:
            yield from self._tool(step, attempt, task)

    def _tool(self, step: str, attempt: int, task: str) -> Iterator[list[Progress]]:
        self._calls += 1
        where = {"step": step, "attempt": attempt, "task": task, "call": f"c{self._calls}"}
        yield [ToolCallStarted(**where, tool="calculator", arguments=content('{"expression": "1+1"}'))]  # type: ignore[arg-type]
        if self._dice.random() < 0.2:
            failure = Failure("tool_error", "division by zero")
            yield [ToolCallFailed(**where, tool="calculator", failure=failure, duration_ms=3)]  # type: ignore[arg-type]
        else:
            yield [ToolCallCompleted(**where, tool="calculator", result=content("2"), duration_ms=2)]  # type: ignore[arg-type]

    def _send(self, command: AnyCommand) -> None:
        self._history.handle(command, tenant=self._tenant, actor="runner:r1")
