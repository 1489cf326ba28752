"""An engine that works on nothing: each task is started and completed at once, as durable reports.

Used by benchmarks and tests in place of CrewAI, which it never imports. Its one rule: it reports what a crew
of the same tasks would, one report after another; the end of the step takes the last one along.
"""

from __future__ import annotations

from typing import Any

from application.ports import Assignment, Reporter
from domain.execution import StepCompleted, StepFailed, TaskCompleted, TaskOutput, TaskStarted


class NoopEngine:
    """`CrewEngine` without a model. The output of a task is its name."""

    async def run(self, assignment: Assignment, reporter: Reporter) -> StepCompleted | StepFailed:
        """See `CrewEngine.run`."""
        document, step, attempt = assignment.definition, assignment.step, assignment.attempt
        tasks = [task for task in document.tasks_of(step) if task not in assignment.done]
        for task in tasks:
            at: dict[str, Any] = {"step": step, "attempt": attempt, "task": task}
            started = TaskStarted(**at, agent=document.tasks[task].agent or "manager")
            completed = TaskCompleted(**at, output=TaskOutput(task), duration_ms=0)
            await reporter.record(started, completed, wait=task != tasks[-1])
        return StepCompleted(step=step, attempt=attempt)
