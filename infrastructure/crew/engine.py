"""CrewAI as the engine of a runner: runs the crew of a step and reports what happens in it.

Made once in a runner process, after `infrastructure.llm.environment.prepare`; many crews run in it at once.
Its one rule: however a crew ends, `run` has reported all it will ever report when it returns or raises.
"""

from __future__ import annotations

import asyncio

from application.ports import Assignment, Reporter
from domain.definition import ITEM
from domain.execution import Failure, StepCompleted, StepFailed
from infrastructure.crew import patches
from infrastructure.crew.building import CrewBuilder
from infrastructure.crew.lanes import GaveUp, Lane, StepRun
from infrastructure.crew.planning import LANE as PLANNING
from infrastructure.crew.planning import plan
from infrastructure.crew.tasks import failure_of
from infrastructure.crew.threads import DaemonThreads
from infrastructure.llm import demo
from infrastructure.tools import ToolSettings, discover

NO_REACH = ToolSettings()
"""Tools that reach nothing: no folder, no host."""


class CrewAIEngine:
    """`CrewEngine` on CrewAI and litellm.

    tools          where tools may reach
    demo_delay_s   between two pieces of an answer of the `demo/` model; it is one setting of the process
    retry_delay_s  before a model call is sent again for the first time; doubles each time
    """

    def __init__(
        self, tools: ToolSettings = NO_REACH, demo_delay_s: float = 0.02, retry_delay_s: float = 0.5
    ) -> None:
        patches.apply()
        demo.install(demo_delay_s)
        self._settings = tools
        self._tools = discover()
        self._retry_delay_s = retry_delay_s
        self._threads = DaemonThreads()

    @property
    def is_idle(self) -> bool:
        """Whether no thread works any more, not even for a crew that was cancelled."""
        return self._threads.busy == 0

    async def run(self, assignment: Assignment, reporter: Reporter) -> StepCompleted | StepFailed:
        """See `CrewEngine.run`. Raises `Stopped`, and `CancelledError` within about a second."""
        asyncio.get_running_loop().set_default_executor(self._threads)
        run = StepRun(assignment, reporter)
        try:
            return await self._worked(run)
        except GaveUp as error:
            return failed(run, error.failure)
        except Exception as error:  # noqa: BLE001 - the step fails, not the runner
            return failed(run, failure_of("", error))
        finally:
            await run.end()

    async def _worked(self, run: StepRun) -> StepCompleted:
        builder = CrewBuilder(run, self._tools, self._settings, self._retry_delay_s)
        crew = builder.crew()
        asked = run.assignment.definition.graph[run.step].crew
        if asked and asked.planning:
            lane = f"{PLANNING}{run.step}" if ITEM in run.step else PLANNING  # items may be alike
            planner = builder.agents.model(asked.planning_model, Lane(run, None, None, lane))
            await asyncio.to_thread(plan, crew.tasks, planner)
        await run.finish(asyncio.create_task(crew.akickoff()))
        return StepCompleted(step=run.step, attempt=run.attempt)


def failed(run: StepRun, failure: Failure) -> StepFailed:
    return StepFailed(step=run.step, attempt=run.attempt, failure=failure)
