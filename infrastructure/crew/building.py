"""From an assignment to CrewAI's crew: one agent and one model for each task.

Called by the engine. Its one rule: what CrewAI gets is finished text, placeholders replaced; and what can
not be built is said before anything is called.

An agent of its own for each task, though the document may name one agent for many, because CrewAI's agent
carries the task that it works on, and two async tasks would overwrite it for each other.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from crewai import Agent, Crew, Process
from crewai.utilities.constants import NOT_SPECIFIED
from crewai.utilities.formatter import DIVIDERS
from jsonschema import Draft202012Validator, SchemaError
from pydantic import BaseModel

from domain import definition
from domain.catalog import Model
from domain.definition import PLACEHOLDER, Json
from domain.execution import Failure
from infrastructure.crew.contents import canonical
from infrastructure.crew.lanes import GaveUp, Lane, StepRun
from infrastructure.crew.schemas import output_model
from infrastructure.crew.tasks import ReportedTask
from infrastructure.crew.tools import ReportedTool
from infrastructure.llm.capabilities import known_provider
from infrastructure.llm.reported import ReportedModel
from infrastructure.tools import ToolSettings, ToolSpec


def filled(text: str, inputs: Mapping[str, Json]) -> str:
    """The text with each `{name}` replaced by the input of that name: text as it is, the rest as JSON."""

    def value(match: re.Match[str]) -> str:
        given = inputs.get(match[1], match[0])
        return given if isinstance(given, str) else canonical(given)

    return PLACEHOLDER.sub(value, text)


class CrewBuilder:
    """Builds the crew of one run.

    tools  every tool there is, by name; settings: where they may reach
    """

    def __init__(
        self, run: StepRun, tools: dict[str, ToolSpec], settings: ToolSettings, retry_delay_s: float
    ) -> None:
        self._run = run
        self._assignment = run.assignment
        self._tools = tools
        self._settings = settings
        self._retry_delay_s = retry_delay_s

    def crew(self) -> Crew:
        """The crew of the assignment's step. Raises `GaveUp` naming what can not be built."""
        document = self._assignment.definition
        tasks: dict[str, ReportedTask] = {}
        for name in document.tasks_of(self._assignment.step):
            tasks[name] = self._task(name, document.tasks[name], tasks)
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
        lane = Lane(self._run, name, task.agent)
        inputs = self._assignment.inputs
        return ReportedTask.of(
            lane,
            self._earlier(task, built),
            self._assignment.outputs[name] if name in self._assignment.done else None,
            name=name,
            description=filled(task.description, inputs),
            expected_output=filled(task.expected_output, inputs),
            agent=self._agent(task, lane),
            context=NOT_SPECIFIED if task.context is None else [built[o] for o in task.context if o in built],
            async_execution=task.async_execution,
            output_pydantic=self._output(name, task),
        )

    def _agent(self, task: definition.Task, lane: Lane) -> Agent:
        agent, inputs = self._assignment.definition.agents[task.agent], self._assignment.inputs
        specs = [self._tool(tool, lane.task) for tool in self._assignment.definition.tools_of(task)]
        parameters = {spec.name: spec.parameters for spec in specs}
        return Agent(
            role=filled(agent.role, inputs),
            goal=filled(agent.goal, inputs),
            backstory=filled(agent.backstory, inputs),
            llm=ReportedModel.of(
                self._model(agent, lane.task),
                lane,
                parameters,
                self._retry_delay_s,
                former=self._assignment.former_models.get(task.agent, ()),
            ),
            tools=[ReportedTool.of(spec, lane, self._settings) for spec in specs],
            max_iter=agent.max_iter,
            max_retry_limit=0,  # `ReportedModel` tries again what may work
            allow_delegation=False,
            verbose=False,
        )

    def _earlier(self, task: definition.Task, built: Mapping[str, object]) -> str:
        """The outputs of earlier steps that the task names as its context; a skipped step gave none."""
        outputs = self._assignment.outputs
        names = [name for name in task.context or () if name not in built and name in outputs]
        return str(DIVIDERS.join(outputs[name].text for name in names))

    def _model(self, agent: definition.Agent, task: str) -> Model:
        name = agent.model or self._assignment.default_model
        if name is None:
            raise GaveUp(Failure("no_model", "the agent names no model and there is no default", task))
        if not known_provider(name):
            raise GaveUp(Failure("unknown_provider", f"{name}: no such provider of models", task))
        return self._assignment.models.get(name) or Model(name=name)

    def _tool(self, name: str, task: str) -> ToolSpec:
        if name not in self._tools:
            known = ", ".join(sorted(self._tools))
            raise GaveUp(Failure("unknown_tool", f"this runner has no tool {name!r}; it has: {known}", task))
        return self._tools[name]

    def _output(self, name: str, task: definition.Task) -> type[BaseModel] | None:
        if task.output_schema is None:
            return None
        schema = self._assignment.definition.schemas.get(task.output_schema)
        if schema is None:
            raise GaveUp(Failure("unknown_schema", f"there is no schema {task.output_schema!r}", name))
        try:
            Draft202012Validator.check_schema(schema)
        except SchemaError as error:
            message = f"schema {task.output_schema!r} is no JSON Schema: {error.message[:200]}"
            raise GaveUp(Failure("unknown_schema", message, name)) from error
        return output_model(task.output_schema, schema)
