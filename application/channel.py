"""The command channel: what runners ask over NATS, and the answers of a process that has the log.

`answer` is served by the dispatcher (and by `kasal up`); the wire is `application.channel_messages`. Its one
rule: every request may come twice; the second changes nothing and is answered like the first.
"""

from __future__ import annotations

from collections.abc import Iterable

import msgspec

from application.assigning import context_outputs
from application.channel_messages import (
    Asked,
    PutContent,
    ReadContent,
    ReadJournal,
    ReadOutputs,
    Reply,
    Request,
)
from application.commands import CommandHandler, Context, Outcome
from application.contents import Contents, Part, named, part_fault
from application.day_budgets import DayBudgets
from application.journals import past_of_step
from application.offering import granted, offered
from application.ports import EventLog
from domain.amounts import NOTHING
from domain.errors import Conflict, Draining, Held, KasalError, NotFound, Rejected, Unavailable
from domain.execution import (
    EXECUTION,
    Execution,
    RecordProgress,
    StartStep,
    Status,
    StepCompleted,
    StepFailed,
    TaskOutput,
    refused_beginnings,
)

MAX_REPLY_BYTES = 900_000
"""NATS carries 1 MiB."""

PAGE_BYTES = MAX_REPLY_BYTES // 2

PIECE_CHARACTERS = PAGE_BYTES // 6
"""Of a text that fits no message; as JSON, a character has six bytes at most."""

ALONG_BYTES = MAX_REPLY_BYTES // 4
"""Of a journal that comes with the claim."""


class CommandChannel:
    """Answers runners. Never raises for what a request says. roster: is told who claims steps."""

    def __init__(self, commands: CommandHandler, log: EventLog, roster: set[str]) -> None:
        self._commands = commands
        self._roster = roster
        self._log = log
        self._contents = Contents(log)
        self._days = DayBudgets(commands)

    async def answer(self, body: bytes) -> bytes:
        reply = await self._reply(body)
        encoded = msgspec.json.encode(reply)
        if reply.assignment and len(encoded) > MAX_REPLY_BYTES:
            smaller = msgspec.structs.replace(reply.assignment, outputs={})
            smaller_reply = Reply(assignment=smaller, is_unclaimed=reply.is_unclaimed, has_more=True)
            return msgspec.json.encode(smaller_reply)
        return encoded

    async def _reply(self, body: bytes) -> Reply:
        try:
            request = msgspec.json.decode(body, type=Request)
        except msgspec.DecodeError as error:
            return Reply(refused=f"unreadable request: {error}")
        try:
            return await self._answered(request)
        except Unavailable as error:
            return Reply(retry_after_s=error.retry_after_s)
        except Conflict:
            return Reply(retry_after_s=0.05)
        except Draining as error:
            return Reply(refused=str(error), is_over=True, is_draining=True)
        except Held:
            return Reply(is_held=True)
        except KasalError as error:
            is_over = not isinstance(request.command, Asked) and await self._is_over(request.command)
            return Reply(refused=str(error), is_over=is_over)

    async def _answered(self, request: Request) -> Reply:
        match request.command:
            case ReadJournal() as asked:
                return await self._read_journal(asked)
            case ReadOutputs() as asked:
                return await self._read_outputs(asked)
            case ReadContent() as asked:
                return await self._read_content(asked, request.tenant)
            case PutContent(execution_id=execution_id, part=part):
                check_parts(part)
                await self._contents.put(request.tenant, f"execution-{execution_id}", part)
                return Reply()
            case StartStep() as claim:
                self._roster.add(claim.runner)
                return await self._claim(claim, request)
            case RecordProgress() as report:
                if report.claim is not None:
                    self._roster.add(report.claim.runner)
                return await self._record(report, request)

    async def _claim(self, claim: StartStep, request: Request) -> Reply:
        if request.claims_later:
            known = await self._commands.known_state(EXECUTION, claim.execution_id)
            if offer := offered(known, claim):
                return offer
        execution = state_after(await self._commands.handle(claim, context_of(request)))
        await self._days.begun(claim.execution_id, execution, context_of(request))
        return await self._with_past(granted(claim, execution), execution)

    async def _record(self, report: RecordProgress, request: Request) -> Reply:
        """Commit the entries with their contents, unless they name one that is nowhere."""
        check_parts(*request.contents)
        along = {part.digest for part in request.contents}
        elsewhere = [digest for digest in dict.fromkeys(named(report.entries)) if digest not in along]
        if missing := await self._contents.missing(request.tenant, report.stream, elsewhere):
            return Reply(missing=missing)
        context = context_of(request)
        of_day = msgspec.structs.replace(context, contents=())
        covered = await self._days.covered(report, of_day)
        try:
            execution = state_after(await self._commands.handle(covered, context))
        except Rejected:
            await self._days.settle_at_rest(report.execution_id, of_day)
            raise
        if not execution.is_open or execution.status in (Status.WAITING, Status.PAUSED):
            await self._days.settle(report.execution_id, execution, of_day)
        elif report.claim:
            await self._days.begun(report.execution_id, execution, of_day)
        if not execution.is_open and not isinstance(report.entries[-1], StepCompleted | StepFailed):
            return Reply(refused=f"the execution has ended: {execution.status}", is_over=True)
        return Reply(is_draining=refused_beginnings(execution, report))

    async def _with_past(self, reply: Reply, execution: Execution) -> Reply:
        """A granted claim with what is known of the step's calls, if that is a part of a message."""
        if (assignment := reply.assignment) is None or not assignment.has_past:
            return reply
        if not assignment.is_fork and execution.account.spent == NOTHING:
            return msgspec.structs.replace(reply, past=Reply())  # no call was begun: nothing to look up
        asked = ReadJournal(execution_id=assignment.execution_id, step=assignment.step, offset=0)
        past = await self._read_journal(asked)
        if past.has_more or len(msgspec.json.encode(past)) > ALONG_BYTES:
            return reply
        return msgspec.structs.replace(reply, past=past)

    async def _read_journal(self, asked: ReadJournal) -> Reply:
        """A page that fits a message."""
        try:
            past = await past_of_step(self._log, asked.execution_id, asked.step)
        except NotFound as error:
            return Reply(missing=(str(error),))
        entries = past.journal[asked.offset :]
        page = page_size(entries)
        if page < len(entries):
            return Reply(journal=entries[:page], has_more=True)
        unknown = past.unknown[: page_size(past.unknown)]
        return Reply(journal=entries, unknown=unknown, reviews=past.reviews)

    async def _read_outputs(self, asked: ReadOutputs) -> Reply:
        """A page that fits a message."""
        execution = await self._commands.state_of(EXECUTION, asked.execution_id)
        if execution.request is None:
            raise NotFound(f"there is no execution {asked.execution_id!r}")
        outputs = list(context_outputs(execution, asked.step).items())[asked.offset :]
        if outputs and (asked.characters or len(msgspec.json.encode(outputs[0][1])) > PAGE_BYTES):
            name, output = outputs[0]
            piece, is_last = piece_of(output, asked.characters)
            has_more = len(outputs) > 1 or not is_last
            return Reply(outputs={name: piece}, is_piece=not is_last, has_more=has_more)
        page = page_size(output for _, output in outputs)
        return Reply(outputs=dict(outputs[:page]), has_more=page < len(outputs))

    async def _read_content(self, asked: ReadContent, tenant: str) -> Reply:
        try:
            holding = await self._contents.find(tenant, asked.digest, f"execution-{asked.execution_id}")
            body = await self._contents.read(holding, asked.number)
        except NotFound:
            return Reply(missing=(asked.digest,))
        return Reply(part=Part(asked.digest, asked.number, holding.total_bytes, body))

    async def _is_over(self, command: StartStep | RecordProgress) -> bool:
        execution = await self._commands.state_of(EXECUTION, command.execution_id)
        step = execution.steps.get(command.step)
        if not execution.is_open or step is None:
            return True
        claim = command if isinstance(command, StartStep) else command.claim
        is_outdated = claim is not None and claim.turn < step.turn
        return is_outdated or execution.status is Status.PAUSED or not step.status.is_active


def context_of(request: Request) -> Context:
    return Context(
        actor=f"runner:{request.runner}",
        tenant=request.tenant,
        correlation_id=request.correlation_id,
        causation_id=request.causation_id,
        traceparent=request.traceparent,
        contents=request.contents,
    )


def check_parts(*parts: Part) -> None:
    for part in parts:
        if fault := part_fault(part):
            raise Rejected(f"the report is not allowed: {fault}")


def page_size(items: Iterable[msgspec.Struct]) -> int:
    """How many of the first items fit a message; at least one."""
    page, size = 0, 0
    for item in items:
        size += len(msgspec.json.encode(item))
        if page and size > PAGE_BYTES:
            break
        page += 1
    return page


def piece_of(output: TaskOutput, begin: int) -> tuple[TaskOutput, bool]:
    """The next part of a text that fits no message (a map's list, which has no schema), and whether it is the
    last."""
    end = begin + PIECE_CHARACTERS
    return TaskOutput(output.text[begin:end]), end >= len(output.text)


def state_after(outcome: Outcome) -> Execution:
    assert isinstance(outcome.state, Execution)  # noqa: S101 - the aggregate of the commands of runners
    return outcome.state
