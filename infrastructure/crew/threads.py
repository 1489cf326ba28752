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
    """An executor of daemon threads, made when none is idle; asyncio takes only a `ThreadPoolExecutor`."""

    def __init__(self, max_threads: int = MAX_THREADS) -> None:
        super().__init__(max_workers=1)  # never started: `submit` below starts our own
        self._jobs: queue.SimpleQueue[Job] = queue.SimpleQueue()
        self._idle = threading.Semaphore(0)
        self._room = threading.Semaphore(max_threads)
        self._unfinished = 0
        self._counting = threading.Lock()

    @property
    def busy(self) -> int:
        """Jobs that are not finished."""
        return self._unfinished

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        future: Future[Any] = Future()
        self._count(1)
        self._jobs.put((future, fn, args, kwargs))
        if not self._idle.acquire(blocking=False) and self._room.acquire(blocking=False):
            threading.Thread(target=self._work, name="kasal-crew", daemon=True).start()
        return future

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """Threads end by themselves when there is nothing to do; who hangs is not waited for."""

    def _work(self) -> None:
        while (job := self._next_job()) is not None:
            run(job)
            self._count(-1)
        self._room.release()

    def _count(self, more: int) -> None:
        with self._counting:
            self._unfinished += more

    def _next_job(self) -> Job | None:
        """A job that waits, or the next to come; None when none came for a while and nobody counts on us."""
        try:
            return self._jobs.get_nowait()
        except queue.Empty:
            self._idle.release()
        while True:
            try:
                return self._jobs.get(timeout=IDLE_S)
            except queue.Empty:
                if self._idle.acquire(blocking=False):
                    return None


def run(job: Job) -> None:
    future, function, args, kwargs = job
    if not future.set_running_or_notify_cancel():
        return
    try:
        result = function(*args, **kwargs)
    except BaseException as error:  # noqa: BLE001 - an executor hands on whatever was raised
        future.set_exception(error)
    else:
        future.set_result(result)
