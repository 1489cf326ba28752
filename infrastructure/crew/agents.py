"""CrewAI's agents, each for one lane: with a model and tools that report, and a bound on its time.

Made by `building` for tasks, and by `delegation` for work that an agent gives to another. Its one rule: what
an agent sees depends on the document and its lane alone, never on a clock, an id or an address.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from crewai import Agent
from crewai.utilities.string_utils import sanitize_tool_name
from pydantic import PrivateAttr

from domain import definition
from domain.catalog import Model
from domain.definition import PLACEHOLDER, Json, JsonSchema
from domain.execution import Failure
from infrastructure.crew.contents import canonical
from infrastructure.crew.lanes import GaveUp, Lane, StepRun
from infrastructure.crew.rates import RateLimit
from infrastructure.crew.tools import ReportedTool
from infrastructure.llm.capabilities import known_provider
from infrastructure.llm.reported import ReportedModel
from infrastructure.tools import ToolSettings, ToolSpec, UnknownOutcome


def filled(text: str, inputs: Mapping[str, Json]) -> str:
    """The text with each `{name}` replaced by the input of that name: text as it is, the rest as JSON."""

    def value(match: re.Match[str]) -> str:
        given = inputs.get(match[1], match[0])
        return given if isinstance(given, str) else canonical(given)

    return PLACEHOLDER.sub(value, text)


class ReportedAgent(Agent):  # type: ignore[misc]
    """An agent of one lane. model: the one that reports."""

    _lane: Lane = PrivateAttr()

    @classmethod
    def of(cls, lane: Lane, **fields: Any) -> ReportedAgent:
        agent: ReportedAgent = cls(**fields)
        agent._lane = lane
        return agent

    @property
    def model(self) -> ReportedModel:
        assert isinstance(self.llm, ReportedModel)  # noqa: S101 - for the type checker; `of` was given it
        return self.llm

    async def aexecute_task(self, task: Any, context: str | None = None, tools: Any = None) -> Any:
        """Raises `GaveUp` after `max_execution_time`. A call that is under way then is not waited for."""
        try:
            async with asyncio.timeout(self.max_execution_time) as bound:
                return await super().aexecute_task(task, context, tools)
        except TimeoutError:
            if not bound.expired():
                raise
            seconds = self.max_execution_time
            message = f"agent {self._lane.agent!r} took longer than its max_execution_time of {seconds} s"
            raise GaveUp(Failure("timeout", message, self._lane.task)) from None

    async def _aexecute_with_timeout(self, task_prompt: str, task: Any, timeout: int) -> Any:
        """CrewAI's own bound, which `aexecute_task` is in place of."""
        return await self._aexecute_without_timeout(task_prompt, task)


class AgentBuilder:
    """Builds the agents and models of one run.

    tools  every tool there is, by name; settings: where they may reach
    """

    def __init__(
        self, run: StepRun, tools: dict[str, ToolSpec], settings: ToolSettings, retry_delay_s: float
    ) -> None:
        self.run = run
        self._assignment = run.assignment
        self._tools = tools
        self._settings = settings
        self._retry_delay_s = retry_delay_s
        self._rates: dict[str, RateLimit] = {}
        run.questions.asks = lambda intent: self._if_unknown(intent.tool, intent.agent) == "ask"
        crew = run.assignment.definition.graph[run.step].crew
        self._crew_rate = (RateLimit(crew.max_rpm),) if crew and crew.max_rpm else ()

    def agent(
        self, agent: definition.Agent, lane: Lane, tools: Iterable[str], more: Sequence[Any] = ()
    ) -> ReportedAgent:
        """more: tools of CrewAI's kind, with their `parameters`. Raises `GaveUp` naming what can not be
        built."""
        inputs = self._assignment.inputs
        specs = [self._tool(tool, lane) for tool in tools]
        parameters = {spec.name: spec.parameters for spec in specs}
        parameters |= {sanitize_tool_name(tool.name): tool.parameters for tool in more}
        rates = (*self._crew_rate, *self._rate(agent, str(lane.agent)))
        entry = self._entry(agent.model, lane)
        former = self._assignment.former_models.get(str(lane.agent), ())
        return ReportedAgent.of(
            lane,
            role=filled(agent.role, inputs),
            goal=filled(agent.goal, inputs),
            backstory=filled(agent.backstory, inputs),
            llm=self._reported(entry, lane, parameters, former, rates),
            tools=[*(self._reported_tool(spec, lane) for spec in specs), *more],
            max_iter=agent.max_iter,
            max_execution_time=agent.max_execution_time,
            max_retry_limit=0,  # `ReportedModel` tries again what may work
            allow_delegation=False,  # `more` has the tools for it
            verbose=False,
        )

    def model(self, name: str | None, lane: Lane) -> ReportedModel:
        """A model without an agent. None: the default. Raises `GaveUp`."""
        return self._reported(self._entry(name, lane), lane, {}, (), self._crew_rate)

    def _reported(
        self,
        entry: Model,
        lane: Lane,
        parameters: dict[str, JsonSchema],
        former: Sequence[Model],
        rates: tuple[RateLimit, ...],
    ) -> ReportedModel:
        is_bounded = self._assignment.definition.limits.bounds_answers
        return ReportedModel.of(
            entry, lane, parameters, self._retry_delay_s, former, rates, is_bounded=is_bounded
        )

    def _reported_tool(self, spec: ToolSpec, lane: Lane) -> ReportedTool:
        return ReportedTool.of(spec, lane, self._settings, self._if_unknown(spec.name, lane.agent))

    def _if_unknown(self, tool: str, agent: str | None) -> UnknownOutcome:
        """What becomes of a call that may have happened: the agent's word goes before the tool's."""
        spec = self._tools.get(tool)
        if spec is None or spec.idempotent:
            return "resend"
        asked = self._assignment.definition.agents.get(str(agent))
        return (asked.unknown_outcome if asked else None) or spec.unknown_outcome

    def _rate(self, agent: definition.Agent, name: str) -> tuple[RateLimit, ...]:
        return (self._rates.setdefault(name, RateLimit(agent.max_rpm)),) if agent.max_rpm else ()

    def _entry(self, asked: str | None, lane: Lane) -> Model:
        name = asked or self._assignment.default_model
        if name is None:
            raise GaveUp(Failure("no_model", "the agent names no model and there is no default", lane.task))
        if not known_provider(name):
            raise GaveUp(Failure("unknown_provider", f"{name}: no such provider of models", lane.task))
        return self._assignment.models.get(name) or Model(name=name)

    def _tool(self, name: str, lane: Lane) -> ToolSpec:
        if name not in self._tools:
            known = ", ".join(sorted(self._tools))
            message = f"this runner has no tool {name!r}; it has: {known}"
            raise GaveUp(Failure("unknown_tool", message, lane.task))
        return self._tools[name]
