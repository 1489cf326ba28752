"""The command channel: what runners ask over NATS, and the answers of a process that has the log.

`answer` is served by the dispatcher (and by `kasal up`); `Request` and `Reply` are the wire, as JSON. Its one
rule: every request may come twice; the second changes nothing and is answered like the first.
"""

from __future__ import annotations

import msgspec

from application.commands import CommandHandler, Context, Outcome
from application.ports import Assignment
from domain.errors import Conflict, KasalError, Unavailable
from domain.execution import (
    EXECUTION,
    Execution,
    Failure,
    RecordProgress,
    StartStep,
    StepFailed,
    StepStatus,
    TaskOutput,
)

MAX_REPLY_BYTES = 900_000
"""NATS carries 1 MiB."""


class Request(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A runner's command. The ids are those of the work that it was given."""

    runner: str
    command: StartStep | RecordProgress
    tenant: str = "default"
    correlation_id: str | None = None
    causation_id: str | None = None
    traceparent: str | None = None


class Reply(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """assignment: of a claim that was granted. retry_after_s: nothing was done, ask again.

    refused: why the runner has to stop; is_over: nobody will need the work again.
    """

    assignment: Assignment | None = None
    refused: str = ""
    is_over: bool = False
    retry_after_s: float = 0


class CommandChannel:
    """Answers runners. Never raises for what a request says."""

    def __init__(self, commands: CommandHandler) -> None:
        self._commands = commands

    async def answer(self, body: bytes) -> bytes:
        reply = await self._reply(body)
        encoded = msgspec.json.encode(reply)
        if reply.assignment and len(encoded) > MAX_REPLY_BYTES:
            return msgspec.json.encode(await self._fail_oversized(reply.assignment, len(encoded)))
        return encoded

    async def _reply(self, body: bytes) -> Reply:
        try:
            request = msgspec.json.decode(body, type=Request)
        except msgspec.DecodeError as error:
            return Reply(refused=f"unreadable request: {error}")
        context = Context(
            actor=f"runner:{request.runner}",
            tenant=request.tenant,
            correlation_id=request.correlation_id,
            causation_id=request.causation_id,
            traceparent=request.traceparent,
        )
        try:
            outcome = await self._commands.handle(request.command, context)
        except Unavailable as error:
            return Reply(retry_after_s=error.retry_after_s)
        except Conflict:
            return Reply(retry_after_s=0.05)
        except KasalError as error:
            return Reply(refused=str(error), is_over=await self._is_over(request.command))
        return granted(request.command, outcome) if isinstance(request.command, StartStep) else Reply()

    async def _fail_oversized(self, assignment: Assignment, size_bytes: int) -> Reply:
        """A step whose context does not fit a message can never run: end it, and say why."""
        message = f"the step's context has {size_bytes} bytes; expected at most {MAX_REPLY_BYTES}"
        failed = StepFailed(
            step=assignment.step, attempt=assignment.attempt, failure=Failure("context_too_large", message)
        )
        command = RecordProgress(
            execution_id=assignment.execution_id,
            step=assignment.step,
            attempt=assignment.attempt,
            after=0,
            entries=(failed,),
        )
        await self._commands.handle(command, Context(actor="system:channel"))
        return Reply(refused=message, is_over=True)

    async def _is_over(self, command: StartStep | RecordProgress) -> bool:
        execution = await self._commands.state_of(EXECUTION, command.execution_id)
        step = execution.steps.get(command.step)
        if not execution.is_open or step is None:
            return True
        outdated = isinstance(command, StartStep) and command.turn < step.turn
        return outdated or step.status in (StepStatus.COMPLETED, StepStatus.FAILED)


def granted(command: StartStep, outcome: Outcome) -> Reply:
    """The assignment of the attempt that the claim began; a refusal when it ended the execution instead."""
    execution = outcome.state
    assert isinstance(execution, Execution)  # noqa: S101 - the aggregate of StartStep
    step = execution.steps[command.step]
    if not execution.is_open or step.status is not StepStatus.RUNNING or execution.request is None:
        return Reply(refused=f"the execution has ended: {execution.status}", is_over=True)
    return Reply(
        assignment=Assignment(
            execution_id=command.execution_id,
            step=command.step,
            attempt=step.attempt,
            definition=execution.definition,
            inputs=execution.request.inputs,
            models=execution.request.models,
            default_model=execution.request.default_model,
            outputs=context_outputs(execution, command.step),
        )
    )


def context_outputs(execution: Execution, step: str) -> dict[str, TaskOutput]:
    """Outputs of earlier steps that the step's tasks have as context."""
    definition = execution.definition
    own = definition.graph[step].crew.tasks
    wanted = {name for task in own for name in definition.tasks[task].context or ()} - set(own)
    return {name: output for name, output in execution.outputs.items() if name in wanted}
