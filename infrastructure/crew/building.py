"""From an assignment to CrewAI's crew: one agent and one model for each task.

Called by the engine. Its one rule: what CrewAI gets is finished text, placeholders replaced; and what can
not be built is said before anything is called.

An agent of its own for each task, though the document may name one agent for many, because CrewAI's agent
carries the task that it works on, and two async tasks would overwrite it for each other. For the same reason
a hierarchical crew is a sequential one whose tasks each have their manager: CrewAI's managers too have the
tasks done one after another, and differ from other agents by nothing but their tools for delegating.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from crewai import Crew, Process
from crewai.utilities.constants import NOT_SPECIFIED
from crewai.utilities.formatter import DIVIDERS
from crewai.utilities.i18n import I18N_DEFAULT
from jsonschema import Draft202012Validator, SchemaError
from pydantic import BaseModel

from domain import definition
from domain.definition import JsonSchema
from domain.execution import Failure
from infrastructure.crew.agents import AgentBuilder, ReportedAgent, filled
from infrastructure.crew.delegation import Delegation, others
from infrastructure.crew.lanes import GaveUp, Lane, StepRun
from infrastructure.crew.schemas import output_model
from infrastructure.crew.tasks import ReportedTask
from infrastructure.tools import ToolSettings, ToolSpec

MANAGER = "manager"
"""Who works on the tasks of a crew that names only its manager's model."""


def remarks(said: tuple[str, ...]) -> str:
    """What an agent is told of results that were sent back. Other text than before, so it is asked anew."""
    if not said:
        return ""
    lines = "\n".join(f"- {remark}" for remark in said)
    return f"\n\nEarlier results were sent back. Heed what was said about them, oldest first:\n{lines}"


class CrewBuilder:
    """Builds the crew of one run. tools: every tool there is, by name; settings: where they may reach."""

    def __init__(
        self, run: StepRun, tools: dict[str, ToolSpec], settings: ToolSettings, retry_delay_s: float
    ) -> None:
        self._run = run
        self._assignment = run.assignment
        self._document = run.assignment.definition
        crew = self._document.graph[run.step].crew
        assert crew is not None  # noqa: S101 - no other kind of step is given to a runner
        self._crew = crew
        self.agents = AgentBuilder(run, tools, settings, retry_delay_s)

    def crew(self) -> Crew:
        """The crew of the assignment's step. Raises `GaveUp` naming what can not be built."""
        tasks: dict[str, ReportedTask] = {}
        for name in self._document.tasks_of(self._run.step):
            tasks[name] = self._task(name, self._document.tasks[name], tasks)
        return Crew(
            agents=[task.agent for task in tasks.values()],
            tasks=list(tasks.values()),
            process=Process.sequential,
            memory=False,
            cache=False,
            verbose=False,
            tracing=False,
        )

    def _task(self, name: str, task: definition.Task, built: dict[str, ReportedTask]) -> ReportedTask:
        is_managed = self._crew.process == "hierarchical"
        lane = Lane(self._run, name, (self._crew.manager_agent or MANAGER) if is_managed else task.agent)
        agent = self._manager(task, lane) if is_managed else self._worker(task, lane)
        inputs = self._assignment.inputs
        built_task = ReportedTask.of(
            lane,
            self._earlier(task, built),
            self._assignment.outputs[name] if name in self._assignment.done else None,
            (task.guardrail, self._guardrail_schema(name, task)) if task.guardrail else None,
            name=name,
            description=filled(task.description, inputs) + remarks(self._assignment.remarks),
            expected_output=filled(task.expected_output, inputs),
            agent=agent,
            context=NOT_SPECIFIED if task.context is None else [built[o] for o in task.context if o in built],
            async_execution=task.async_execution,
            output_pydantic=self._output(name, task),
        )
        built_task._asks_person = task.human_input
        return built_task

    def _worker(self, task: definition.Task, lane: Lane) -> ReportedAgent:
        """The agent of the task, with tools to delegate where it may."""
        agents, name = self._document.agents, str(task.agent)
        coworkers = others(agents, [name]) if agents[name].allow_delegation else {}
        return self.agents.agent(
            agents[name], lane, self._document.tools_of(task), self._delegating(lane, coworkers)
        )

    def _manager(self, task: definition.Task, lane: Lane) -> ReportedAgent:
        """The manager, who delegates the task to its agent, or to whom it likes."""
        agents, name = self._document.agents, self._crew.manager_agent
        manager = agents[name] if name else crewai_manager(self._crew.manager_model)
        coworkers = {task.agent: agents[task.agent]} if task.agent else others(agents, [name])
        return self.agents.agent(manager, lane, task.tools or (), self._delegating(lane, coworkers))

    def _delegating(self, lane: Lane, coworkers: Mapping[str, definition.Agent]) -> list[Any]:
        return Delegation(self.agents, lane, coworkers).tools() if coworkers else []

    def _earlier(self, task: definition.Task, built: Mapping[str, object]) -> str:
        """The outputs of earlier steps that the task names as its context; a skipped step gave none."""
        outputs = self._assignment.outputs
        names = [name for name in task.context or () if name not in built and name in outputs]
        return str(DIVIDERS.join(outputs[name].text for name in names))

    def _output(self, name: str, task: definition.Task) -> type[BaseModel] | None:
        if task.output_schema is None:
            return None
        return output_model(task.output_schema, self._schema(task.output_schema, name))

    def _guardrail_schema(self, name: str, task: definition.Task) -> JsonSchema | None:
        return self._schema(task.guardrail.schema, name) if task.guardrail and task.guardrail.schema else None

    def _schema(self, wanted: str, task: str) -> JsonSchema:
        schema = self._document.schemas.get(wanted)
        if schema is None:
            raise GaveUp(Failure("unknown_schema", f"there is no schema {wanted!r}", task))
        try:
            Draft202012Validator.check_schema(schema)
        except SchemaError as error:
            message = f"schema {wanted!r} is no JSON Schema: {error.message[:200]}"
            raise GaveUp(Failure("unknown_schema", message, task)) from error
        return schema


def crewai_manager(model: str | None) -> definition.Agent:
    """The manager that CrewAI makes for a crew which names only a model."""
    role, goal, backstory = (
        I18N_DEFAULT.retrieve("hierarchical_manager_agent", part) for part in ("role", "goal", "backstory")
    )
    return definition.Agent(role=role, goal=goal, backstory=backstory, model=model)
