"""Executions with CrewAI on the whole way in memory (log, dispatcher, channel, runner), and how they end.

Used by tests of what a crew and the domain do together.
"""

from __future__ import annotations

from typing import Any

from application.forks import fork_execution
from application.overrides import Overrides
from domain.message import Event
from domain.registry import event_of
from tests.application.house import ME, House
from tests.waiting import eventually


class WholeRuns(House):
    """A house, and the executions that are run in it."""

    async def run(self, execution_id: str) -> list[Event]:
        """Its events once it has ended."""
        self.executions.append(execution_id)
        await eventually(lambda: self.ended(execution_id), 60)
        return await self.events(execution_id)

    async def ended(self, execution_id: str) -> bool:
        return not (await self.state(execution_id)).is_open

    async def events(self, execution_id: str) -> list[Event]:
        return [event_of(one) for one in await self.log.read_stream(f"execution-{execution_id}")]

    async def fork(self, name: str, parent: str, at: int | None = None, **overrides: Any) -> list[Event]:
        wish = fork_execution(name, parent, Overrides(**overrides), tenant="default", at=at)
        await self.commands.handle(wish, ME)
        return await self.run(name)
