"""A step in a process of its own: `isolation: process` in a workflow document.

`IsolatingEngine` is a runner's engine; `work_alone` is all that the forked process does. The process has no
connection to anything but its runner, which records what it reports. Its one rule: however the process ends,
only its own step is touched; without an end of the step the step begins again.
"""

from __future__ import annotations

import asyncio
import itertools
import os
import signal
import socket
from collections.abc import Callable
from contextlib import suppress
from typing import TypeAlias

import msgspec

from application.ports import Assignment, Crashed, CrewEngine, Reporter, Stopped
from domain.execution import Progress, StepCompleted, StepFailed

LENGTH_BYTES = 8


class Born(msgspec.Struct, frozen=True, tag=True):
    """The process is there."""

    pid: int


class Report(msgspec.Struct, frozen=True, tag=True):
    """Entries to record; answered with an `Answer` of its number, where somebody waits."""

    number: int | None
    entries: tuple[Progress, ...]


class Tokens(msgspec.Struct, frozen=True, tag=True):
    call: str
    text: str


class Ended(msgspec.Struct, frozen=True, tag=True):
    """How the step ended. None: it was stopped; is_draining: by being told to let go, and it has."""

    end: StepCompleted | StepFailed | None
    is_draining: bool = False


class Answer(msgspec.Struct, frozen=True):
    """To a report, by its number. is_refused: it would have begun something, and nothing may begin now."""

    number: int
    is_refused: bool = False


Said: TypeAlias = Born | Report | Tokens | Ended
"""From the process to its runner. The runner sends the assignment, then answers to reports."""

_said = msgspec.json.Decoder(Said)
_assignment = msgspec.json.Decoder(Assignment)
_answer = msgspec.json.Decoder(Answer)


class IsolatingEngine:
    """`CrewEngine`: runs a step itself, or in a new process where the document asks for that.

    fork: the near end of a pair whose other end a new process has that does `work_alone`
    """

    def __init__(self, engine: CrewEngine, fork: Callable[[], socket.socket]) -> None:
        self._engine = engine
        self._fork = fork

    async def run(self, assignment: Assignment, reporter: Reporter) -> StepCompleted | StepFailed:
        """See `CrewEngine.run`. Raises `Crashed` when the process ended under the step."""
        if assignment.definition.isolation == "none":
            return await self._engine.run(assignment, reporter)
        reader, writer = await asyncio.open_unix_connection(sock=self._fork())
        far = Far(reader, writer, reporter)
        try:
            return await far.run(assignment)
        except (OSError, asyncio.IncompleteReadError) as error:
            raise Crashed("the process of the step has ended") from error
        finally:
            far.end()


class Far:
    """The process as its runner sees it."""

    def __init__(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, reporter: Reporter
    ) -> None:
        self._reader = reader
        self._writer = writer
        self._reporter = reporter
        self._pid = 0
        self._recording: set[asyncio.Task[None]] = set()
        self._broken: asyncio.Future[StepCompleted | StepFailed] = asyncio.get_running_loop().create_future()

    async def run(self, assignment: Assignment) -> StepCompleted | StepFailed:
        write(self._writer, assignment)
        hearing = asyncio.create_task(self._hear())
        try:
            await asyncio.wait((hearing, self._broken), return_when=asyncio.FIRST_COMPLETED)
            return self._broken.result() if self._broken.done() else hearing.result()
        finally:
            for task in (hearing, *self._recording):
                task.cancel()
            self._broken.cancel()

    async def _hear(self) -> StepCompleted | StepFailed:
        while True:
            match _said.decode(await read(self._reader)):
                case Born(pid=pid):
                    self._pid = pid
                case Tokens(call=call, text=text):
                    self._reporter.tokens(call, text)
                case Report(number=None) as report:
                    await self._record(report)
                case Report() as report:
                    task = asyncio.create_task(self._record(report))
                    self._recording.add(task)
                    task.add_done_callback(self._recording.discard)
                case Ended(end=end, is_draining=is_draining):
                    if end is None:
                        reason = "the step was stopped in its process"
                        raise Stopped(reason, is_over=is_draining, is_draining=is_draining)
                    return end

    async def _record(self, report: Report) -> None:
        try:
            await self._reporter.record(*report.entries, wait=report.number is not None)
        except Stopped as stopped:
            if stopped.is_draining:
                if report.number is not None:
                    write(self._writer, Answer(report.number, is_refused=True))
            elif not self._broken.done():
                self._broken.set_exception(stopped)
        else:
            if report.number is not None:
                write(self._writer, Answer(report.number))

    def end(self) -> None:
        """Kill what is left of it: what it was to report is reported."""
        self._writer.close()
        if self._pid:
            with suppress(ProcessLookupError):
                os.kill(self._pid, signal.SIGKILL)


class NearReporter:
    """`Reporter` in the process: everything goes to the runner."""

    def __init__(self, writer: asyncio.StreamWriter) -> None:
        self._writer = writer
        self._numbers = itertools.count()
        self._loop = asyncio.get_running_loop()
        self._waiting: dict[int, asyncio.Future[None]] = {}

    async def record(self, *entries: Progress, wait: bool = True) -> None:
        if not wait:
            write(self._writer, Report(None, entries))
            return
        number = next(self._numbers)
        self._waiting[number] = recorded = self._loop.create_future()
        write(self._writer, Report(number, entries))
        await recorded

    def tokens(self, call: str, text: str) -> None:
        self._loop.call_soon_threadsafe(write, self._writer, Tokens(call, text))

    def answered(self, answer: Answer) -> None:
        recorded = self._waiting.pop(answer.number)
        if answer.is_refused:
            recorded.set_exception(Stopped("told to let go", is_over=True, is_draining=True))
        else:
            recorded.set_result(None)


async def work_alone(end: socket.socket, engine: CrewEngine) -> None:
    """Run one step, and end. The process is killed when its runner has ended."""
    reader, writer = await asyncio.open_unix_connection(sock=end)
    write(writer, Born(os.getpid()))
    assignment = _assignment.decode(await read(reader))
    reporter = NearReporter(writer)
    hearing = asyncio.create_task(hear_answers(reader, reporter))
    try:
        write(writer, Ended(await engine.run(assignment, reporter)))
    except Stopped as stopped:
        write(writer, Ended(None, stopped.is_draining))
    await writer.drain()
    hearing.cancel()


async def hear_answers(reader: asyncio.StreamReader, reporter: NearReporter) -> None:
    try:
        while True:
            reporter.answered(_answer.decode(await read(reader)))
    except (OSError, asyncio.IncompleteReadError):
        os._exit(1)


def write(writer: asyncio.StreamWriter, message: Assignment | Said | Answer) -> None:
    body = msgspec.json.encode(message)
    writer.write(len(body).to_bytes(LENGTH_BYTES, "big") + body)


async def read(reader: asyncio.StreamReader) -> bytes:
    """Raises `IncompleteReadError` when the other side has ended."""
    length = int.from_bytes(await reader.readexactly(LENGTH_BYTES), "big")
    return await reader.readexactly(length)
