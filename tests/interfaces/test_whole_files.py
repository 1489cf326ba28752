"""Files that are written whole or not at all."""

from __future__ import annotations

import hashlib
import os
import signal
from pathlib import Path

import pytest

from interfaces.operations.whole_files import whole_file


def test_a_file_has_its_name_when_it_is_whole(tmp_path: Path) -> None:
    path = tmp_path / "bundle"
    path.write_bytes(b"old")
    with whole_file(path) as file:
        file.write(b"new ")
        assert path.read_bytes() == b"old"
        file.write(b"one")
    assert path.read_bytes() == b"new one"
    assert (file.size_bytes, file.sha256) == (7, hashlib.sha256(b"new one").hexdigest())
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_what_is_interrupted_leaves_nothing_behind(tmp_path: Path, number: signal.Signals) -> None:
    handler = signal.getsignal(signal.SIGTERM)
    inherited = signal.signal(signal.SIGINT, signal.default_int_handler)  # background jobs ignore it
    try:
        with pytest.raises(KeyboardInterrupt):
            write_half(tmp_path / "bundle", number)
    finally:
        signal.signal(signal.SIGINT, inherited)
    assert list(tmp_path.iterdir()) == []
    assert signal.getsignal(signal.SIGTERM) is handler


def write_half(path: Path, number: signal.Signals) -> None:
    with whole_file(path) as file:
        file.write(b"half")
        os.kill(os.getpid(), number)
        signal.pause()
