"""Runs a command that does not outlive the process which started it, not even when that is killed.

Run as a script by `server.py`: `python bound.py <pid of the parent> <command...>`. Its one rule: stdlib only,
so that it starts in milliseconds. On Linux it asks the kernel for the parent's death signal and becomes the
command; elsewhere it stays beside the command and watches its parent.
"""

from __future__ import annotations

import ctypes
import os
import signal
import subprocess
import sys
import time

PR_SET_PDEATHSIG = 1
WATCH_EVERY_S = 0.25


def become(parent: int, command: list[str]) -> None:
    """Replace this process by the command; the death signal survives the exec."""
    ctypes.CDLL(None, use_errno=True).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() == parent:  # otherwise it died before we asked
        os.execv(command[0], command)  # noqa: S606 - no shell is the point


def watch(parent: int, command: list[str]) -> int:
    """Run the command beside this process until either it or the parent ends; its exit code."""
    child = subprocess.Popen(command, close_fds=False)  # noqa: S603
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda received, _: child.send_signal(received))
    while child.poll() is None:
        if os.getppid() != parent:
            child.kill()
        time.sleep(WATCH_EVERY_S)
    return child.returncode


def main(arguments: list[str]) -> int:
    parent, command = int(arguments[0]), arguments[1:]
    if sys.platform == "linux":
        become(parent, command)
        return 1
    return watch(parent, command)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
