"""Files that are written whole or not at all: exports, bundles, archives.

Called by the verbs that write what the API streams. Its one rule: under its own name a file is complete and
on the disk; what is unfinished has a name that ends in `.part`, and is removed when writing it fails.
"""

from __future__ import annotations

import hashlib
import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO


class WholeFile:
    """One that is being written. part: where it is meanwhile."""

    def __init__(self, part: Path, file: BinaryIO) -> None:
        self.part = part
        self.size_bytes = 0
        self._file = file
        self._hash = hashlib.sha256()

    @property
    def sha256(self) -> str:
        """Of what was written so far, in hexadecimal."""
        return self._hash.hexdigest()

    def write(self, chunk: bytes) -> None:
        self._file.write(chunk)
        self._hash.update(chunk)
        self.size_bytes += len(chunk)

    def flush(self) -> None:
        """To the disk."""
        self._file.flush()
        os.fsync(self._file.fileno())


@contextmanager
def whole_file(path: Path) -> Iterator[WholeFile]:
    """In place of what is there under that name, when the block ends without an exception."""
    part = path.with_name(f".{path.name}.part")
    with ended_by_sigterm():
        try:
            with part.open("wb") as file:
                whole = WholeFile(part, file)
                yield whole
                whole.flush()
            part.replace(path)
            sync_folder(path.parent)
        except BaseException:
            part.unlink(missing_ok=True)
            raise


@contextmanager
def ended_by_sigterm() -> Iterator[None]:
    """SIGTERM ends the block as Ctrl-C does, so that what it has begun is cleared away."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def sync_folder(folder: Path) -> None:
    """So that the names in it are on the disk, too."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
