"""CrewAI's task, with its start and its end reported.

Made by `building`. Its one rule: a task that was reported as started is reported as completed or failed,
unless the run itself was stopped.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from itertools import count
from pathlib import Path
from traceback import extract_tb
from typing import Any

import crewai
from crewai import Task
from crewai.utilities.formatter import DIVIDERS
from crewai.utilities.i18n import I18N_DEFAULT
from pydantic import BaseModel, PrivateAttr, ValidationError

from application.ports import Stopped
from domain.definition import Guardrail, JsonSchema
from domain.errors import TooLarge
from domain.execution import Failure, TaskCompleted, TaskFailed, TaskOutput, TaskReviewed, TaskStarted, Wait
from infrastructure.crew.contents import clean_json, clean_text, output_failure
from infrastructure.crew.guardrails import objection
from infrastructure.crew.lanes import GaveUp, Lane, ms_since
from infrastructure.crew.schemas import as_instance, instance_in

Guard = tuple[Guardrail, JsonSchema | None]


class ReportedTask(Task):  # type: ignore[misc]
    """A task of one lane.

    earlier  the outputs of earlier steps that its agent sees, as one text
    done     what it has produced already, in the past of a fork
    guard    what its answer has to pass, and the schema that this names
    asks_person  somebody has to approve the answer
    """

    _lane: Lane = PrivateAttr()
    _earlier: str = PrivateAttr(default="")
    _done: TaskOutput | None = PrivateAttr(default=None)
    _guard: Guard | None = PrivateAttr(default=None)
    _asks_person: bool = PrivateAttr(default=False)

    @classmethod
    def of(
        cls, lane: Lane, earlier: str, done: TaskOutput | None, guard: Guard | None, **fields: Any
    ) -> ReportedTask:
        task: ReportedTask = cls(**fields)
        task._lane, task._earlier, task._done, task._guard = lane, earlier, done, guard
        return task

    async def aexecute_sync(self, agent: Any = None, context: str | None = None, tools: Any = None) -> Any:
        """CrewAI calls this for every task, async ones included."""
        if (task := asyncio.current_task()) is not None:
            self._lane.run.belongs(task)
        if self._done is not None:
            self.output = self._as_crewai(self._done)
            return self.output
        whole = DIVIDERS.join(text for text in (self._earlier, context) if text)
        return await reported(self._lane, lambda: self._reviewed(agent, whole, tools))

    async def _reviewed(self, agent: Any, context: str, tools: Any) -> Any:
        """An output that a person approved, where one is to; the agent tries again with what was said.

        Raises `Stopped` while nobody has said anything yet: the step waits for that.
        """
        result = await self._guarded(agent, context, tools)
        for number in count(1):
            if not self._asks_person:
                break
            said = self._lane.run.questions.review(str(self._lane.task), number, result.raw)
            if isinstance(said, Wait):
                await self._lane.run.record(self._lane.run.suspended(said))
                raise Stopped("the step waits for a review", is_over=True, is_draining=True)
            if said.is_approved:
                break
            result = await self._guarded(agent, DIVIDERS.join([context, better(result.raw, said)]), tools)
        return result

    async def _guarded(self, agent: Any, context: str, tools: Any) -> Any:
        """An output that passes the guardrail; the agent is told what was wrong, and tries again."""
        work = super().aexecute_sync
        result = await work(agent, context, tools)
        if self._guard is None:
            return result
        guardrail, schema = self._guard
        for attempt in range(guardrail.max_retries + 1):
            fault = await asyncio.to_thread(objection, guardrail, schema, result.raw, agent.model)
            if not fault:
                return result
            if attempt < guardrail.max_retries:
                result = await work(agent, DIVIDERS.join([context, again(result.raw, fault)]), tools)
        message = f"after {guardrail.max_retries} retries the answer to {self._lane.task!r} is still refused"
        raise GaveUp(Failure("guardrail_failed", f"{message}: {fault[:1_000]}", self._lane.task))

    def _as_crewai(self, done: TaskOutput) -> Any:
        """An output that was reported before, as CrewAI hands it on."""
        model = self.output_pydantic
        return crewai.TaskOutput(
            name=self.name,
            description=self.description,
            expected_output=self.expected_output,
            raw=done.text,
            pydantic=model.model_validate(done.structured) if model and done.structured is not None else None,
            agent=self.agent.role,
        )

    async def _aexport_output(self, result: str | BaseModel) -> tuple[BaseModel | None, None]:
        """The instance in an agent's last words; CrewAI's own way gives up on JSON that is nearly right."""
        if self.output_pydantic is None or isinstance(result, BaseModel):
            return (result if isinstance(result, BaseModel) else None), None
        try:
            return instance_in(result, self.output_pydantic), None
        except ValueError as error:
            asked = as_instance(result, self.output_pydantic, error)
            return await self.agent.llm.acall(asked, response_model=self.output_pydantic), None


def again(answer: str, fault: str) -> str:
    """What CrewAI says to an agent whose answer was refused; here it stands behind the context."""
    text = I18N_DEFAULT.errors("validation_error")
    return str(text.format(guardrail_result_error=fault, task_output=answer))


def better(answer: str, said: TaskReviewed) -> str:
    """What CrewAI says to an agent whose answer a person wants changed, with that answer."""
    text = I18N_DEFAULT.slice("feedback_instructions").format(feedback=said.feedback)
    return f"### Previous result:\n{answer}\n\n{text}"


async def reported(lane: Lane, work: Callable[[], Awaitable[Any]]) -> Any:
    """CrewAI's output of the work. Raises `GaveUp` with what failed.

    Neither start nor end is waited for: the next call's intent, or the step's end, carries them.
    """
    run, begin, limit_s = lane.run, time.monotonic(), time_limit(lane)
    await run.record(TaskStarted(**lane.at, agent=str(lane.agent)), wait=False)
    try:
        async with asyncio.timeout(limit_s) as clock:
            result = await work()
        output = output_of(str(lane.task), result)
    except GaveUp as error:
        failure = error.failure
    except TimeoutError as error:
        failure = (
            out_of_time(str(lane.task), limit_s) if clock.expired() else failure_of(str(lane.task), error)
        )
    except Exception as error:  # noqa: BLE001 - CrewAI raises bare exceptions for most of its faults
        failure = failure_of(str(lane.task), error)
    else:
        await run.record(TaskCompleted(**lane.at, output=output, duration_ms=ms_since(begin)), wait=False)
        return result
    await run.record(TaskFailed(**lane.at, failure=failure, duration_ms=ms_since(begin)), wait=False)
    raise GaveUp(failure)


def time_limit(lane: Lane) -> int | None:
    """Of one attempt at the lane's task, in seconds."""
    task = lane.run.assignment.definition.tasks.get(lane.task or "")
    return task.timeout_s if task else None


def out_of_time(task: str, limit_s: int | None) -> Failure:
    return Failure("task_timeout", f"task {task!r} took longer than its timeout_s of {limit_s} s", task)


def output_of(task: str, result: Any) -> TaskOutput:
    """The output as it is stored. Raises `GaveUp` when it can not be."""
    structured = result.pydantic.model_dump() if result.pydantic is not None else None
    try:
        output = TaskOutput(clean_text(result.raw), clean_json(structured))
    except ValueError as error:
        raise GaveUp(Failure("output_invalid", f"the output of {task!r}: {error}", task)) from error
    if failure := output_failure(task, output):
        raise GaveUp(failure)
    return output


def failure_of(task: str, error: Exception) -> Failure:
    """What a person can make of an exception of CrewAI; its text may quote a prompt, so it is left out."""
    if isinstance(known := getattr(error, "failure", None), Failure):
        return known
    if isinstance(error, TooLarge):
        return Failure("report_too_large", str(error), task or None)
    if isinstance(error, ValidationError):
        return Failure("output_invalid", f"the answer to {task!r} is no instance of its output_schema", task)
    frames = extract_tb(error.__traceback__)
    where = f" in {Path(frames[-1].filename).name}, line {frames[-1].lineno}" if frames else ""
    return Failure("crew_error", f"CrewAI raised {type(error).__name__}{where}", task)
