from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.infrastructure.tools.running import refused, run


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    inside = tmp_path / "shared"
    (inside / "notes").mkdir(parents=True)
    (inside / "notes" / "today.txt").write_text("Grüße", encoding="utf-8")
    (tmp_path / "secret.txt").write_text("secret")
    return inside


def test_a_file_is_read(folder: Path) -> None:
    assert run("read_file", files_dir=folder, path="notes/today.txt") == "Grüße"


def test_a_folder_is_listed(folder: Path) -> None:
    assert run("read_file", files_dir=folder, path=".") == "notes/"
    assert run("read_file", files_dir=folder, path="notes") == "today.txt"


def test_a_long_file_comes_in_parts(folder: Path) -> None:
    (folder / "long.txt").write_text("a" * 65_536 + "end")
    assert "go on with offset 65536" in run("read_file", files_dir=folder, path="long.txt")
    assert run("read_file", files_dir=folder, path="long.txt", offset=65_536) == "end"


@pytest.mark.parametrize(
    "path", ["../secret.txt", "notes/../../secret.txt", "/etc/passwd", "..", "link", "door/secret.txt"]
)
def test_nothing_outside_of_the_folder_is_read(folder: Path, path: str) -> None:
    (folder / "link").symlink_to(folder.parent / "secret.txt")
    (folder / "door").symlink_to(folder.parent)
    refused("read_file", files_dir=folder, path=path, because="leads out of the folder")


def test_a_link_within_the_folder_is_followed(folder: Path) -> None:
    (folder / "link").symlink_to("notes/today.txt")
    assert run("read_file", files_dir=folder, path="link") == "Grüße"


@pytest.mark.parametrize("path", ["missing.txt", "a\0b", "x" * 999, "notes/today.txt/deeper", "loop"])
def test_what_is_not_there_is_said_to_be_missing(folder: Path, path: str) -> None:
    (folder / "loop").symlink_to("loop")
    refused("read_file", files_dir=folder, path=path, because="there is no file")


def test_pipes_and_binary_files_are_refused(folder: Path) -> None:
    os.mkfifo(folder / "pipe")
    (folder / "image.png").write_bytes(b"\x89PNG\0\0")
    refused("read_file", files_dir=folder, path="pipe", because="not a file")
    refused("read_file", files_dir=folder, path="image.png", because="not a text file")


def test_without_a_folder_nothing_is_read() -> None:
    refused("read_file", path="a.txt", because="no folder is configured")
