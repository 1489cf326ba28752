"""The threads that CrewAI's blocking parts run on.

Set by the engine as its event loop's default executor: CrewAI runs each step of an agent with
`asyncio.to_thread`, and the default of a few threads would let crews wait for each other. Its one rule: a
thread that hangs in a provider or a tool keeps neither the event loop nor the process from ending.
"""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

MAX_THREADS = 512
IDLE_S = 30.0

Job = tuple["Future[Any]", Callable[..., Any], tuple[Any, ...], dict[str, Any]]


class DaemonThreads(ThreadPoolExecutor):
    """An executor of daemon threads, made when none is free; asyncio takes only a `ThreadPoolExecutor`.

    There are never more threads than there were jobs at once: a thread is free again before anybody hears of
    the end of its job.
    """

    def __init__(self, max_threads: int = MAX_THREADS) -> None:
        super().__init__(max_workers=1)  # never started: `submit` below starts our own
        self._jobs: queue.SimpleQueue[Job] = queue.SimpleQueue()
        self._max_threads = max_threads
        self._counting = threading.Lock()
        self._threads_made = 0
        self._free = 0
        self._queued = 0
        self._unfinished = 0

    @property
    def busy(self) -> int:
        """Jobs that are not finished."""
        return self._unfinished

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        future: Future[Any] = Future()
        with self._counting:
            self._unfinished += 1
            self._queued += 1
            is_short = self._queued > self._free and self._threads_made < self._max_threads
            self._threads_made += is_short
            self._free += is_short
        self._jobs.put((future, fn, args, kwargs))
        if is_short:
            threading.Thread(target=self._work, name="kasal-crew", daemon=True).start()
        return future

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """Threads end by themselves when there is nothing to do; who hangs is not waited for."""

    def _work(self) -> None:
        while (job := self._next_job()) is not None:
            run(job, self._be_free)
            with self._counting:
                self._unfinished -= 1

    def _be_free(self) -> None:
        with self._counting:
            self._free += 1

    def _next_job(self) -> Job | None:
        """The next to come; None when none came for a while and nobody counts on us."""
        while True:
            try:
                job = self._jobs.get(timeout=IDLE_S)
            except queue.Empty:
                if self._may_end():
                    return None
                continue
            with self._counting:
                self._free -= 1
                self._queued -= 1
            return job

    def _may_end(self) -> bool:
        with self._counting:
            may_end = self._free > self._queued
            self._free -= may_end
            self._threads_made -= may_end
        return may_end


def run(job: Job, on_end: Callable[[], None]) -> None:
    """on_end: called before anybody hears of the end."""
    future, function, args, kwargs = job
    if not future.set_running_or_notify_cancel():
        on_end()
        return
    try:
        result = function(*args, **kwargs)
    except BaseException as error:  # noqa: BLE001 - an executor hands on whatever was raised
        on_end()
        future.set_exception(error)
    else:
        on_end()
        future.set_result(result)
