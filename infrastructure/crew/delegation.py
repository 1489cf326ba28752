"""Work that one agent gives to another: CrewAI's two tools for it, with lanes of their own for what they do.

Made by `building` for managers and for agents that may delegate. Its one rule: delegating is no journal entry
of its own; the calls that the coworker makes are, in a lane that the work itself names, so that they are
found again whenever the same work is delegated.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping
from typing import Any

from crewai import Task
from crewai.tools.agent_tools.ask_question_tool import AskQuestionTool
from crewai.tools.agent_tools.delegate_work_tool import DelegateWorkTool
from crewai.utilities.i18n import I18N_DEFAULT
from pydantic import PrivateAttr

from domain import definition
from domain.definition import JsonSchema
from infrastructure.crew.agents import AgentBuilder, filled
from infrastructure.crew.lanes import Lane
from infrastructure.crew.tasks import failure_of


class Delegation:
    """What the tools of one lane do. coworkers: by their names in the document."""

    def __init__(self, builder: AgentBuilder, lane: Lane, coworkers: Mapping[str, definition.Agent]) -> None:
        inputs = builder.run.assignment.inputs
        self._builder = builder
        self._lane = lane
        self._coworkers = coworkers
        self.roles = {filled(agent.role, inputs): name for name, agent in reversed([*coworkers.items()])}

    def tools(self) -> list[Any]:
        """To delegate, and to ask."""
        roles = ", ".join(reversed(self.roles))
        delegate = Delegate(
            agents=[], description=I18N_DEFAULT.tools("delegate_work").format(coworkers=roles)
        )
        ask = Ask(agents=[], description=I18N_DEFAULT.tools("ask_question").format(coworkers=roles))
        delegate._delegation = ask._delegation = self
        return [delegate, ask]

    def parameters(self, what: str) -> JsonSchema:
        """Of a tool whose first argument is `what`; they name the coworkers: no model has to guess."""
        roles = list(reversed(self.roles))
        return {
            "type": "object",
            "properties": {
                what: {"type": "string", "description": f"The {what}, complete"},
                "context": {"type": "string", "description": "All that the coworker has to know"},
                "coworker": {"type": "string", "enum": roles},
            },
            "required": [what, "context", "coworker"],
        }

    def work(self, coworker: str | None, description: str, context: str | None) -> str:
        """The coworker's answer, from a worker thread. Raises what stops the run; all else is an answer."""
        known = {plain(role): name for role, name in self.roles.items()}
        name = known.get(plain(coworker or ""))
        if name is None:
            options = "\n".join(f"- {plain(role)}" for role in reversed(self.roles))
            return str(I18N_DEFAULT.errors("agent_tool_unexisting_coworker").format(coworkers=options))
        lane = self._lane.below(name, description, context or "")
        try:
            working = self._work(name, lane, description, context)
            return str(asyncio.run_coroutine_threadsafe(working, lane.run.loop).result())
        except Exception as error:  # noqa: BLE001 - CrewAI's own tools answer so, and their agent goes on
            reason = failure_of(str(lane.task), error).message
            text = I18N_DEFAULT.errors("agent_tool_execution_error")
            return str(text.format(agent_role=plain(str(coworker)), error=reason))

    async def _work(self, name: str, lane: Lane, description: str, context: str | None) -> Any:
        if (task := asyncio.current_task()) is not None:
            lane.run.belongs(task)
        coworker = self._coworkers[name]
        agent = self._builder.agent(coworker, lane, coworker.tools)
        wish = Task(
            description=description, agent=agent, expected_output=I18N_DEFAULT.slice("manager_request")
        )
        return await agent.aexecute_task(wish, context)


class Delegate(DelegateWorkTool):  # type: ignore[misc]
    """CrewAI's tool, whose work is done in a lane."""

    _delegation: Delegation = PrivateAttr()

    @property
    def parameters(self) -> JsonSchema:
        return self._delegation.parameters("task")

    def _execute(self, agent_name: str | None, task: str, context: str | None = None) -> str:
        return self._delegation.work(agent_name, task, context)


class Ask(AskQuestionTool):  # type: ignore[misc]
    """CrewAI's tool, whose question is answered in a lane."""

    _delegation: Delegation = PrivateAttr()

    @property
    def parameters(self) -> JsonSchema:
        return self._delegation.parameters("question")

    def _execute(self, agent_name: str | None, task: str, context: str | None = None) -> str:
        return self._delegation.work(agent_name, task, context)


def plain(role: str) -> str:
    """A role as CrewAI compares it: models quote names, and spread them over lines."""
    return " ".join(role.split()).replace('"', "").casefold()


def others(agents: Mapping[str, definition.Agent], but: Iterable[str | None]) -> dict[str, definition.Agent]:
    """The agents of a document without some."""
    left_out = set(but)
    return {name: agent for name, agent in agents.items() if name not in left_out}
