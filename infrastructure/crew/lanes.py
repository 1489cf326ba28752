"""Lanes: how what happens in a crew, on whatever thread, becomes a report.

A `StepRun` is one run of a step; each of its tasks is a `Lane`, through which its model calls and tool calls
go. Called by the model, the tools and the tasks that CrewAI works with. Its one rule: once a run is stopped,
nothing is reported any more, whatever thread is still working.

`Lane.call` is where the journal answers: the id of a call is the same whenever the crew runs again, and a
call whose outcome is known from an earlier attempt is not made again.
"""

from __future__ import annotations

import asyncio
import concurrent.futures
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from hashlib import sha256
from itertools import chain
from typing import Any, Literal, TypeVar, cast

from application.ports import Assignment, Prior, Reporter, Stopped
from domain.definition import Json
from domain.execution import (
    Failure,
    Journaled,
    Progress,
    StepSuspended,
    ToolCallFailed,
    ToolCallStarted,
    Wait,
)
from infrastructure.crew.contents import canonical
from infrastructure.crew.occurrences import Occurrences
from infrastructure.crew.past import Journal, Questions, diverged, is_lost, taken_over
from infrastructure.tools import UnknownOutcome

R = TypeVar("R")

END_WITHIN_S = 1.0
"""How long cancelled parts of a crew may take to end; they only wait for threads."""


class GaveUp(BaseException):
    """The step can not go on, and why. A BaseException, so that CrewAI does not try it again its own way."""

    def __init__(self, failure: Failure) -> None:
        super().__init__(failure.message)
        self.failure = failure


class CallFailed(Exception):
    """A model or tool call has failed, and why. is_transient: the same call may work a little later."""

    def __init__(self, failure: Failure, *, is_transient: bool = False, retry_after_s: float = 0) -> None:
        super().__init__(failure.message)
        self.failure = failure
        self.is_transient = is_transient
        self.retry_after_s = retry_after_s


class Unclear(Exception):
    """A call may have happened or not, and its tool does not know."""


class StepRun:
    """One run of a step. Made on the event loop that its reporter belongs to; used from any thread."""

    def __init__(self, assignment: Assignment, reporter: Reporter) -> None:
        self.assignment = assignment
        self.step = assignment.step
        self.journal = Journal(assignment.journal)
        self.attempt = assignment.attempt
        self.questions = Questions(assignment)
        self.loop = asyncio.get_running_loop()
        self._reporter = reporter
        self._stopped = threading.Event()
        self._reports: set[concurrent.futures.Future[None]] = set()
        self._tasks: set[asyncio.Task[Any]] = set()
        self._in_flight = 0
        self._counting = threading.Lock()
        self._landed = asyncio.Event()
        self._broken: asyncio.Future[BaseException] = self.loop.create_future()

    async def record(self, *entries: Progress, wait: bool = True) -> None:
        """Report from the event loop, as `Reporter.record`. Raises `Stopped`."""
        if self._stopped.is_set():
            raise self._stop()
        await self._reporter.record(*entries, wait=wait)

    def record_from_thread(self, *entries: Progress, wait: bool = True) -> None:
        """Report from a worker thread, as `Reporter.record`. Raises `Stopped`."""
        if asyncio._get_running_loop() is self.loop:
            raise RuntimeError("a report from the event loop itself would wait for itself")
        if self._stopped.is_set() or self.loop.is_closed():
            raise self._stop()
        if not wait:
            self.loop.call_soon_threadsafe(self._record_along, entries)
            return
        report = asyncio.run_coroutine_threadsafe(self.record(*entries), self.loop)
        self._reports.add(report)
        try:
            report.result()
        except concurrent.futures.CancelledError as error:
            raise self._stop() from error
        finally:
            self._reports.discard(report)

    def _record_along(self, entries: tuple[Progress, ...]) -> None:
        self.belongs(self.loop.create_task(self.record(*entries, wait=False)))

    def suspended(self, wait: Wait) -> StepSuspended:
        """What to report so that the step waits; reporting it raises `Stopped`."""
        return StepSuspended(step=self.step, attempt=self.attempt, wait=wait)

    def tokens(self, call: str, text: str) -> None:
        """A piece of an answer, from any thread."""
        if self._stopped.is_set():
            raise self._stop()
        self._reporter.tokens(call, text)

    def pause(self, seconds: float) -> None:
        """Wait on a worker thread, until the run is stopped at the latest."""
        if self._stopped.wait(seconds):
            raise self._stop()

    def belongs(self, task: asyncio.Task[Any]) -> None:
        """The task ends with this run at the latest; CrewAI leaves async tasks behind when another fails."""
        self._tasks.add(task)
        task.add_done_callback(self._ended)

    async def finish(self, work: asyncio.Task[object]) -> None:
        """Wait for the crew. Raises what broke it, as soon as any part of it is broken."""
        self.belongs(work)
        await asyncio.wait((work, self._broken), return_when=asyncio.FIRST_COMPLETED)
        if self._broken.done():
            error = self._broken.result()
            if isinstance(error, Stopped) and error.is_draining:
                await self._all_landed()
            raise error
        await work

    @contextmanager
    def call_in_flight(self) -> Iterator[None]:
        """Around a call and its reports, on a worker thread: it is waited for when the run has to let go."""
        with self._counting:
            self._in_flight += 1
        try:
            yield
        finally:
            with self._counting:
                self._in_flight -= 1
            if not self.loop.is_closed():
                self.loop.call_soon_threadsafe(self._landed.set)

    async def _all_landed(self) -> None:
        while self._in_flight:
            self._landed.clear()
            if self._in_flight:
                await self._landed.wait()

    async def end(self) -> None:
        """Nothing is reported from now on; what still runs on the event loop has ended on return."""
        self._stopped.set()
        for report in tuple(self._reports):
            report.cancel()
        rest = [task for task in self._tasks if not task.done()]
        for task in rest:
            task.cancel()
        if rest:
            await asyncio.wait(rest, timeout=END_WITHIN_S)

    def _ended(self, task: asyncio.Task[Any]) -> None:
        self._tasks.discard(task)
        error = None if task.cancelled() else task.exception()
        if error is not None and not self._broken.done():
            self._broken.set_result(error)

    @staticmethod
    def _stop() -> Stopped:
        return Stopped("the run of this step has ended")


class Lane:
    """The line of calls of one task, or of work that an agent delegated within it.

    task  None for what belongs to no task (planning)
    name  begins the ids of its calls; the task's, unless told otherwise
    """

    def __init__(self, run: StepRun, task: str | None, agent: str | None, name: str = "") -> None:
        self.run = run
        self.task = task
        self.agent = agent
        self.name = name or str(task)
        self._occurrences = Occurrences()
        self._below: dict[str, Lane] = {}
        self._making = threading.Lock()

    def below(self, agent: str, *work: str) -> Lane:
        """The lane of work that was delegated to an agent; the same work is the same lane again."""
        name = f"{self.name}~{agent}.{sha256(canonical(work).encode(errors='replace')).hexdigest()[:8]}"
        with self._making:
            return self._below.setdefault(name, Lane(self.run, self.task, agent, name))

    @property
    def at(self) -> dict[str, Any]:
        """What every event of this lane says of its place."""
        return {"step": self.run.step, "attempt": self.run.attempt, "task": self.task}

    def call(
        self,
        kind: Literal["model", "tool"],
        request: Json,
        *,
        recall: Callable[[Journaled], R],
        started: Callable[[str], Progress],
        act: Callable[[str], R],
        completed: Callable[[str, R, int], Progress],
        failed: Callable[[str, Failure, int], Progress],
        former: Iterable[Json] = (),
        if_unknown: UnknownOutcome = "resend",
    ) -> R:
        """Report the intent, act, report the result: one call, from a worker thread.

        No call is made before the results of this lane's earlier ones are in the log. A tool's is waited for:
        lost with the runner, it would be a question to a person; a model's goes along with what comes next.
        recall makes the result of a known outcome; then nothing is done and nothing reported. The others
        get the call's id (`<lane>:<kind>:<digest of the request>:<occurrence>`), completed and failed also
        its duration in ms. former: the request as it was in the past of a fork, where that counts as the
        same. if_unknown: what becomes of a call that may have happened. Raises `CallFailed` as `act` did,
        `Stopped`, and `GaveUp`, also where a what-if would run a tool.
        """
        key = self._key(kind, request)
        occurrence = self._occurrences.claim(key)
        call = f"{key}:{occurrence}"
        same = (f"{self._key(kind, other)}:{occurrence}" for other in former)
        if (known := self.run.journal.take(chain((call,), same))) is not None:
            outcome = self._taken(known, call, started, if_unknown)
            if outcome is not None:
                return self._recalled(outcome, key, occurrence, recall)
        if kind == "tool" and self.run.assignment.is_what_if:
            raise GaveUp(diverged(self.task, request))
        if (intent := self.run.questions.unknown.get(call)) is not None:
            self._stop_at(self.run.questions.about(intent, if_unknown))
        with self.run.call_in_flight():
            self.run.record_from_thread(started(call))
            begin = time.monotonic()
            try:
                result = act(call)
            except Unclear:
                self._stop_at(self.run.questions.about(cast("ToolCallStarted", started(call)), if_unknown))
                raise
            except CallFailed as error:
                self._occurrences.release(key, occurrence)
                self.run.record_from_thread(failed(call, error.failure, ms_since(begin)))
                raise
            self.run.record_from_thread(completed(call, result, ms_since(begin)), wait=kind == "tool")
        return result

    def _stop_at(self, doubt: Failure | Wait | None) -> None:
        """Returns when the call is to be sent (again)."""
        if isinstance(doubt, Wait):
            self.run.record_from_thread(self.run.suspended(doubt))
            raise Stopped("the step waits for an answer", is_over=True, is_draining=True)
        if isinstance(doubt, Failure):
            raise GaveUp(doubt)

    def _key(self, kind: str, request: Json) -> str:
        return f"{self.name}:{kind}:{sha256(canonical(request).encode(errors='replace')).hexdigest()[:16]}"

    def _taken(
        self,
        known: Journaled | Prior,
        call: str,
        started: Callable[[str], Progress],
        policy: UnknownOutcome,
    ) -> Journaled | None:
        """A known outcome, with its text; None when that is lost and the call is to be sent again."""
        outcome = known.outcome if isinstance(known, Prior) else known
        if is_lost(outcome):
            of_fork = isinstance(known, Prior)
            self._stop_at(self.run.questions.about_lost(started(call), policy, of_fork=of_fork))
            return None
        if isinstance(known, Prior):
            self.run.record_from_thread(taken_over(known, call, self.agent, self.run.attempt))
        return outcome

    def _recalled(self, known: Journaled, key: str, occurrence: int, recall: Callable[[Journaled], R]) -> R:
        if isinstance(known, ToolCallFailed):
            self._occurrences.release(key, occurrence)
            raise CallFailed(known.failure)
        return recall(known)


def ms_since(begin: float) -> int:
    return round((time.monotonic() - begin) * 1000)
