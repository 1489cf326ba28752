"""A warm parent that forks children, and another one for each that ends.

Called by `kasal runner`, after everything that takes long was imported. Its one rule: it has one thread, no
event loop and no connection, so whatever it forks begins whole; children make their own.

A child notes which leases it holds in memory that it shares with its parent. When it dies, the one in its
place goes on with that memory, to hand them back: nobody waits for a lease whose holder is known to be gone.
"""

from __future__ import annotations

import ctypes
import os
import selectors
import signal
import socket
import sys
import time
import traceback
from collections.abc import Callable
from contextlib import suppress
from typing import NoReturn

import structlog

from interfaces.processes.held import Held

log = structlog.get_logger()

PR_SET_PDEATHSIG = 1
WATCH_EVERY_S = 0.5
END_WITHIN_S = 28.0
"""A child has 25 seconds to drain."""

RESTART_PAUSE_S = (0.02, 5.0)
"""Before another child is started: at once, but doubling while they die in their first second."""

SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGCHLD)


class Line:
    """A child's end of the line to its parent. leases: of the child before it, to be handed back."""

    def __init__(self, end: socket.socket, held: Held) -> None:
        held.open()
        self._end = end
        self._held = held
        self.leases = held.leases()
        self.hold = held.hold
        self.let_go = held.let_go

    def fileno(self) -> int:
        """Readable as soon as the parent has ended."""
        return self._end.fileno()

    def fork(self) -> socket.socket:
        """The near end of a pair whose other end a new process of the parent has; closed when it failed."""
        ours, theirs = socket.socketpair()
        with theirs:
            socket.send_fds(self._end, [b"f"], [theirs.fileno()])
        return ours


class Child:
    """A child as its parent knows it. alone: processes that were forked at its wish."""

    def __init__(self, pid: int, end: socket.socket, held: Held) -> None:
        self.pid = pid
        self.end = end
        self.held = held
        self.alone: set[int] = set()
        self.started = time.monotonic()


class Supervisor:
    """Keeps `count` children running `work`; `alone` runs in a process of its own whenever one asks for it.

    parent: end, with all children, when this process has ended; 0: do not watch.
    """

    def __init__(
        self,
        count: int,
        work: Callable[[Line], None],
        alone: Callable[[socket.socket], None],
        *,
        parent: int = 0,
    ) -> None:
        self._count = count
        self._work = work
        self._alone = alone
        self._parent = parent
        self._children: dict[int, Child] = {}
        self._due: list[tuple[float, Held]] = []
        self._pause_s = RESTART_PAUSE_S[0]
        self._is_stopping = False
        self._exit_code = 0
        self._selector = selectors.DefaultSelector()
        self._bell, self._rope = socket.socketpair()

    def run(self) -> int:
        """Until SIGTERM or SIGINT, then until every child has drained: the worst of their exit codes."""
        if self._parent:
            die_with(self._parent)
        self._hear_signals()
        self._due = [(0.0, Held()) for _ in range(self._count)]
        while not self._is_stopping:
            self._turn(WATCH_EVERY_S)
            if self._parent and os.getppid() != self._parent:
                self._kill_all()
                return 1
        return self._end()

    def _hear_signals(self) -> None:
        for end in (self._bell, self._rope):
            end.setblocking(False)
        signal.set_wakeup_fd(self._rope.fileno(), warn_on_full_buffer=False)
        for number in SIGNALS:
            signal.signal(number, self._on_signal)
        self._selector.register(self._bell, selectors.EVENT_READ)

    def _on_signal(self, number: int, _: object) -> None:
        self._is_stopping = self._is_stopping or number != signal.SIGCHLD

    def _turn(self, at_most_s: float) -> None:
        """Wait for something to happen, and see to it."""
        now = time.monotonic()
        for due in [due for due in self._due if due[0] <= now and not self._is_stopping]:
            self._due.remove(due)
            self._start(due[1])
        left_s = min([at_most_s, *(at - now for at, _ in self._due if at > now)])
        for key, _ in self._selector.select(left_s):
            if key.data is None:
                with suppress(BlockingIOError):
                    self._bell.recv(4096)
            else:
                self._hear(key.data)
        self._reap()

    def _start(self, held: Held) -> None:
        ours, theirs = socket.socketpair()
        if (pid := self._fork()) == 0:
            ours.close()
            become(self._work, Line(theirs, held))
        theirs.close()
        ours.setblocking(False)
        self._children[pid] = child = Child(pid, ours, held)
        self._selector.register(ours, selectors.EVENT_READ, child)

    def _fork(self) -> int:
        """The pid; 0 in a child, which has only what is its own and dies with its parent."""
        parent = os.getpid()
        signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)
        try:
            if (pid := os.fork()) == 0:
                signal.set_wakeup_fd(-1)
                for number in SIGNALS:
                    signal.signal(number, signal.SIG_DFL)
                for end in (self._bell, self._rope, *(child.end for child in self._children.values())):
                    end.close()
                self._selector.close()
                die_with(parent)
        finally:
            signal.pthread_sigmask(signal.SIG_UNBLOCK, SIGNALS)
        return pid

    def _hear(self, child: Child) -> None:
        """Fork what the child has asked for by now: one process for each end of a line that it sent."""
        while True:
            try:
                said, files, _, _ = socket.recv_fds(child.end, 65536, 16)
            except BlockingIOError:
                return
            except OSError:
                said, files = b"", []
            for file in files:
                self._fork_alone(child, file)
            if not said:
                with suppress(KeyError, ValueError):
                    self._selector.unregister(child.end)
                return

    def _fork_alone(self, owner: Child, file: int) -> None:
        with socket.socket(fileno=file) as end:
            try:
                pid = self._fork()
            except OSError as error:
                log.error("a process for an isolated step could not be made", error=str(error))
                return
            if pid == 0:
                become(self._alone, end)
            owner.alone.add(pid)

    def _reap(self) -> None:
        while self._children:
            pid, status = os.waitpid(-1, os.WNOHANG)
            if pid == 0:
                return
            if (child := self._children.pop(pid, None)) is not None:
                self._bury(child, os.waitstatus_to_exitcode(status))
            for owner in self._children.values():
                owner.alone.discard(pid)

    def _bury(self, child: Child, code: int) -> None:
        self._hear(child)
        child.end.close()
        for pid in child.alone:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        if self._is_stopping:
            self._exit_code = max(self._exit_code, abs(code))
            return
        lived_s = time.monotonic() - child.started
        shortest, longest = RESTART_PAUSE_S
        self._pause_s = shortest if lived_s > 1 else min(2 * self._pause_s, longest)
        leases = len(child.held.leases())
        log.error("a runner ended and another one is started", exit_code=code, leases=leases)
        self._due.append((time.monotonic() + self._pause_s, child.held))

    def _end(self) -> int:
        for pid in self._children:
            os.kill(pid, signal.SIGTERM)
        deadline = time.monotonic() + END_WITHIN_S
        while self._children and time.monotonic() < deadline:
            self._turn(WATCH_EVERY_S)
        if self._children:
            log.error("runners did not end in time and are killed", count=len(self._children))
            self._kill_all()
            return 1
        return self._exit_code

    def _kill_all(self) -> None:
        for child in self._children.values():
            for pid in (child.pid, *child.alone):
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)


def become(work: Callable[..., None], *arguments: object) -> NoReturn:
    """Do nothing else in this process. It ends without the interpreter's shutdown, which can hang or crash
    with CrewAI loaded; what had to be finished is finished."""
    code = 1
    try:
        work(*arguments)
        code = 0
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else 1
    except BaseException:  # noqa: BLE001 - the end of the process: said, and told by its exit code
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


def die_with(parent: int) -> None:
    """On Linux the kernel kills this process as soon as its parent has ended, however busy it is then."""
    if sys.platform == "linux":
        ctypes.CDLL(None, use_errno=True).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        os._exit(1)
