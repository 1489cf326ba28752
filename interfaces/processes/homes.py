"""Folders that processes have while they live, and that nobody has to clean up by hand.

Called by `kasal runner`. Its one rule: who makes a folder first removes those whose owners have ended,
however they ended: the kernel lets go of an owner's lock when its process is gone.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def own_home(homes: Path) -> Iterator[Path]:
    """A new folder among those in `homes`; gone with all that is in it when this ends."""
    homes.mkdir(parents=True, exist_ok=True, mode=0o700)
    with locked(homes):
        remove_forsaken(homes)
        home = Path(tempfile.mkdtemp(dir=homes))
        lock = os.open(home, os.O_RDONLY)
        fcntl.flock(lock, fcntl.LOCK_EX)
    try:
        yield home
    finally:
        shutil.rmtree(home, ignore_errors=True)
        os.close(lock)


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    lock = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
    finally:
        os.close(lock)


def remove_forsaken(homes: Path) -> None:
    for home in homes.iterdir():
        try:
            lock = os.open(home, os.O_RDONLY)
        except FileNotFoundError:  # its owner has just ended in order
            continue
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            continue
        else:
            shutil.rmtree(home, ignore_errors=True)
        finally:
            os.close(lock)
