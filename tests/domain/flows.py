"""Flows for tests: documents of steps, and executions of them that are worked by hand."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from domain.catalog import Catalog, Model, Schema
from domain.checks import definition_faults
from domain.containment import children_of
from domain.definition import Approval, Crew, Definition, Join, JsonSchema, Route, Router, Step, Task
from domain.execution import (
    EXECUTION,
    DecideApproval,
    EndWait,
    ExecutionCommands,
    PinnedChild,
    RecordProgress,
    ReportChild,
    RequestExecution,
    SendSignal,
    StartStep,
    StepCompleted,
    StepStatus,
    TaskCompleted,
    TaskOutput,
)
from domain.execution.approvals import digest_of
from domain.execution.rules.asking import shown_outputs
from domain.limits import Budget
from domain.message import Event
from domain.steps import ChildWorkflow
from tests.domain.examples import WRITER

RISK: JsonSchema = {
    "type": "object",
    "properties": {"score": {"type": "number"}, "level": {"type": "string", "enum": ["low", "high"]}},
    "required": ["score"],
}
CATALOG = Catalog(models={"demo/small": Model(name="demo/small")}, schemas={"Risk": Schema("Risk", RISK)})


def crew(task: str, after: tuple[str, ...] | Join = ()) -> Step:
    return Step(crew=Crew(tasks=(task,)), after=after)


def router(*routes: tuple[str, str], otherwise: str | None = None, after: tuple[str, ...] = ()) -> Step:
    return Step(router=Router(tuple(Route(when, then) for when, then in routes), otherwise), after=after)


def gate(after: tuple[str, ...] = (), **fields: Any) -> Step:
    return Step(approval=Approval(message="Send this?", **fields), after=after)


def flow(**steps: Step) -> Definition:
    """A document of these steps; the task of a crew is called as its step, `risk` gives a Risk."""
    names = [task for step in steps.values() if step.crew for task in step.crew.tasks]
    tasks = {
        name: Task(
            description="Do",
            expected_output="done",
            agent="writer",
            output_schema="Risk" if name == "risk" else None,
        )
        for name in names
    }
    return Definition(
        name="Flow",
        agents={"writer": WRITER},
        tasks=tasks,
        steps=steps,
        inputs={"vip": {"type": "boolean", "default": False}},
        schemas={"Risk": RISK},
    )


def child(after: tuple[str, ...] | Join = (), workflow_id: str = "blog", **fields: Any) -> Step:
    return Step(workflow=ChildWorkflow(workflow_id=workflow_id, **fields), after=after)


def children_in(definition: Definition) -> list[str]:
    return [name for name, _ in children_of(definition)]


class Run:
    """An execution of a flow, worked by hand: each step is run when it is told to.

    budgets  of the workflows that its `workflow` steps run, by step
    """

    def __init__(
        self,
        definition: Definition,
        vip: bool = False,
        budgets: Mapping[str, Budget] | None = None,
        catalog: Catalog = CATALOG,
    ) -> None:
        assert definition_faults(definition, catalog) == ()
        self.state = EXECUTION.initial
        self.events: list[Event] = []
        pinned = {name: (budgets or {}).get(name, Budget()) for name in children_in(definition)}
        self.send(
            RequestExecution(
                execution_id="x",
                name="x",
                definition=definition,
                inputs={"vip": vip},
                models={},
                children={name: PinnedChild(1, budget) for name, budget in pinned.items()},
            )
        )

    def send(self, command: ExecutionCommands) -> list[Event]:
        events = EXECUTION.decide(self.state, command)
        for event in events:
            self.state = EXECUTION.evolve(self.state, event)
        self.events += events
        return list(events)

    def run(self, step: str, *, task: str = "", **structured: object) -> list[Event]:
        """Runs a scheduled step to its end; returns what followed from that."""
        task = task or step
        turn = self.state.steps[step].turn
        self.send(StartStep(execution_id="x", step=step, turn=turn, delivery=1, runner="r"))
        attempt = self.state.steps[step].attempt
        output = TaskOutput(f"{task} done", structured or None)
        done = TaskCompleted(step=step, attempt=attempt, task=task, output=output, duration_ms=1)
        end = StepCompleted(step=step, attempt=attempt)
        report = RecordProgress(execution_id="x", step=step, attempt=attempt, after=0, entries=(done, end))
        return self.send(report)[2:]

    def decide(self, decision: Any = "approve", approval: str = "1-gate", **fields: Any) -> list[Event]:
        """Decides on what is shown now, as `lead` where no other is named."""
        known = self.state.approvals.get(approval)
        step = self.state.definition.graph[known.step].approval if known else None
        message = step.message if step else ""
        shown = shown_outputs(self.state, known.step) if known else {}
        command = {"approver": "lead", "digest": digest_of(message, shown), **fields}
        return self.send(DecideApproval(execution_id="x", approval_id=approval, decision=decision, **command))

    def ring(self, step: str, wait_id: str) -> list[Event]:
        """The time of a wait has come."""
        return self.send(EndWait(execution_id="x", step=step, wait_id=wait_id))

    def signal(self, name: str, payload: object = None) -> list[Event]:
        return self.send(SendSignal(execution_id="x", name=name, payload=payload, by="me"))

    def ended(self, child: str, status: Any = "completed", **fields: Any) -> list[Event]:
        """A child has ended, as the dispatcher reports it."""
        return self.send(ReportChild(execution_id="x", child=child, status=status, **fields))

    def statuses(self) -> dict[str, StepStatus]:
        return {name: step.status for name, step in self.state.steps.items()}
