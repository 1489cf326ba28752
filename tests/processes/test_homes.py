"""Folders of processes that were killed: the next one removes them, and nobody else's."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from interfaces.processes.homes import own_home

HOLD = """
import sys
from pathlib import Path
from interfaces.processes.homes import own_home
with own_home(Path(sys.argv[1])) as home:
    (home / "work").mkdir()
    print(home, flush=True)
    sys.stdin.read()
"""


def holder(homes: Path) -> tuple[subprocess.Popen[str], Path]:
    process = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(homes)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    return process, Path(process.stdout.readline().strip())


def test_a_folder_is_there_as_long_as_its_process(tmp_path: Path) -> None:
    with own_home(tmp_path / "homes") as home:
        (home / "file").write_text("x", encoding="utf-8")
        assert list((tmp_path / "homes").iterdir()) == [home]
    assert list((tmp_path / "homes").iterdir()) == []


def test_what_a_killed_process_leaves_is_removed_by_the_next_and_a_living_one_keeps_its_own(
    tmp_path: Path,
) -> None:
    homes = tmp_path / "homes"
    (killed, left), (living, kept) = holder(homes), holder(homes)
    killed.kill()
    killed.wait()
    assert sorted(homes.iterdir()) == sorted([left, kept])
    with own_home(homes) as home:
        assert sorted(homes.iterdir()) == sorted([kept, home])
        assert (kept / "work").exists()
    living.communicate()
    assert list(homes.iterdir()) == []
