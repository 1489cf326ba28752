"""The command channel: what runners ask over NATS, and the answers of a process that has the log.

`answer` is served by the dispatcher (and by `kasal up`); `Request` and `Reply` are the wire, as JSON. Its one
rule: every request may come twice; the second changes nothing and is answered like the first.
"""

from __future__ import annotations

from collections.abc import Iterable

import msgspec

from application.commands import CommandHandler, Context, Outcome
from application.ports import Assignment, EventLog
from domain.errors import Conflict, KasalError, Unavailable
from domain.execution import (
    EXECUTION,
    Execution,
    Failure,
    Journaled,
    ModelCallCompleted,
    RecordProgress,
    StartStep,
    StepFailed,
    StepStatus,
    TaskOutput,
    ToolCallCompleted,
    ToolCallFailed,
)
from domain.message import Recorded, tag_of
from domain.registry import event_of

JOURNALED = frozenset(tag_of(event) for event in (ModelCallCompleted, ToolCallCompleted, ToolCallFailed))

MAX_REPLY_BYTES = 900_000
"""NATS carries 1 MiB."""


class ReadJournal(msgspec.Struct, frozen=True, kw_only=True, tag_field="type", tag="ReadJournal"):
    """From a runner that begins a step again: the known outcomes of its calls, from the `offset`-th on."""

    execution_id: str
    step: str
    offset: int


class Request(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A runner's command. The ids are those of the work that it was given."""

    runner: str
    command: StartStep | RecordProgress | ReadJournal
    tenant: str = "default"
    correlation_id: str | None = None
    causation_id: str | None = None
    traceparent: str | None = None


class Reply(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """assignment: of a claim that was granted. retry_after_s: nothing was done, ask again.

    refused: why the runner has to stop; is_over: nobody will need the work again.
    journal: what was asked for; has_more: and there is more, behind it.
    """

    assignment: Assignment | None = None
    journal: tuple[Journaled, ...] = ()
    has_more: bool = False
    refused: str = ""
    is_over: bool = False
    retry_after_s: float = 0


class CommandChannel:
    """Answers runners. Never raises for what a request says."""

    def __init__(self, commands: CommandHandler, log: EventLog) -> None:
        self._commands = commands
        self._log = log

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
            if isinstance(request.command, ReadJournal):
                return await self._read_journal(request.command)
            outcome = await self._commands.handle(request.command, context)
        except Unavailable as error:
            return Reply(retry_after_s=error.retry_after_s)
        except Conflict:
            return Reply(retry_after_s=0.05)
        except KasalError as error:
            is_over = not isinstance(request.command, ReadJournal) and await self._is_over(request.command)
            return Reply(refused=str(error), is_over=is_over)
        return granted(request.command, outcome) if isinstance(request.command, StartStep) else Reply()

    async def _read_journal(self, asked: ReadJournal) -> Reply:
        """A page that fits a message."""
        events = await self._log.read_stream(f"execution-{asked.execution_id}")
        entries = journal_of(events, asked.step)[asked.offset :]
        page, size = 0, 0
        for entry in entries:
            size += len(msgspec.json.encode(entry))
            if page and size > MAX_REPLY_BYTES // 2:
                break
            page += 1
        return Reply(journal=entries[:page], has_more=page < len(entries))

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


def journal_of(events: Iterable[Recorded], step: str) -> tuple[Journaled, ...]:
    """The calls of a step whose outcome is known and whole, in order.

    A call's id is the same in every attempt. It stands here twice when the first outcome was a tool's failure
    and the agent asked again. A model call that failed is none: it is sent again.
    """
    found: list[Journaled] = []
    for recorded in events:
        if recorded.tag not in JOURNALED:
            continue
        event = event_of(recorded)
        assert isinstance(event, Journaled)  # noqa: S101 - its tag was compared
        content = getattr(event, "response", None) or getattr(event, "result", None)
        if event.step == step and not (content and content.is_truncated):
            found.append(event)
    return tuple(found)


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
