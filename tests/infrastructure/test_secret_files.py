"""Secrets in files: for their owner only, and whole."""

from __future__ import annotations

from pathlib import Path

import pytest

from infrastructure.secret_files import kept_secret, write_secret


def test_a_secret_is_kept_for_its_owner_alone(tmp_path: Path) -> None:
    path = tmp_path / "key"
    secret = kept_secret(path)
    assert len(secret) > 30
    assert kept_secret(path) == secret
    assert path.stat().st_mode & 0o777 == 0o600


def test_a_write_that_breaks_off_leaves_what_was_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "key"
    write_secret(path, "old")

    def crash(descriptor: int) -> None:
        raise OSError("the machine went away")

    monkeypatch.setattr("infrastructure.secret_files.os.fsync", crash)
    with pytest.raises(OSError, match="went away"):
        write_secret(path, "new")
    assert path.read_text() == "old"


def test_a_new_secret_takes_the_place_of_the_old(tmp_path: Path) -> None:
    path = tmp_path / "key"
    write_secret(path, "old")
    write_secret(path, "new")
    assert path.read_text() == "new"
    assert [each.name for each in tmp_path.iterdir()] == ["key"]
