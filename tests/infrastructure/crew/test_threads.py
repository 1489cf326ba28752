from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import CancelledError, Future, wait

import pytest

from infrastructure.crew.threads import DaemonThreads

AT_ONCE = 8
ROUNDS = 300


def threads_of(work: Callable[[], object]) -> int:
    """How many threads of crews there are more after the work."""
    before = set(threading.enumerate())
    work()
    return sum(thread.name == "kasal-crew" for thread in set(threading.enumerate()) - before)


def test_there_are_never_more_threads_than_jobs_at_once() -> None:
    threads = DaemonThreads()

    def one_after_another() -> None:
        for _ in range(ROUNDS):
            threads.submit(threading.get_ident).result(30)

    def clients() -> None:
        each = [threading.Thread(target=one_after_another) for _ in range(AT_ONCE)]
        for client in each:
            client.start()
        for client in each:
            client.join()

    assert 1 <= threads_of(clients) <= AT_ONCE


def test_jobs_that_wait_for_each_other_have_a_thread_each() -> None:
    threads, together = DaemonThreads(), threading.Barrier(AT_ONCE)
    jobs = [threads.submit(together.wait, 30) for _ in range(AT_ONCE)]
    done, _ = wait(jobs, 30)
    assert sorted(job.result() for job in done) == list(range(AT_ONCE))


def test_jobs_beyond_the_bound_wait_for_a_thread() -> None:
    threads, go = DaemonThreads(max_threads=2), threading.Event()
    jobs: list[Future[bool]] = []

    def submit() -> None:
        jobs.extend(threads.submit(go.wait, 30) for _ in range(AT_ONCE))
        go.set()
        wait(jobs, 30)

    assert threads_of(submit) == 2
    assert all(job.result(0) for job in jobs)


def test_a_job_that_was_cancelled_while_it_waited_is_not_done() -> None:
    threads, go, done = DaemonThreads(max_threads=1), threading.Event(), list[str]()
    first = threads.submit(go.wait, 30)
    cancelled, last = threads.submit(done.append, "cancelled"), threads.submit(done.append, "last")
    assert cancelled.cancel()
    go.set()
    assert first.result(30)
    last.result(30)
    assert done == ["last"]
    with pytest.raises(CancelledError):
        cancelled.result(0)


def test_a_thread_that_has_nothing_to_do_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("infrastructure.crew.threads.IDLE_S", 0.05)
    threads, begun = DaemonThreads(), list[threading.Thread]()
    jobs = [threads.submit(lambda: begun.append(threading.current_thread())) for _ in range(AT_ONCE)]
    wait(jobs, 30)
    for thread in begun:
        thread.join(30)
        assert not thread.is_alive()
    assert threads.submit(threading.get_ident).result(30)
