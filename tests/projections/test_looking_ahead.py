"""After a restart a projector reads the rows of many executions at once, not one by one."""

from __future__ import annotations

from dataclasses import replace

import pytest

from projections.database import ReadDatabase
from projections.execution_timeline import EXECUTION_TIMELINE
from projections.projection import Projection
from projections.projector import Projector
from projections.rows import WorkingRows
from tests.projections.databases import builds_of, read_db, read_url
from tests.projections.histories import History, history_of
from tests.projections.oracle import expected, stored

__all__ = ["read_db", "read_url"]

AT_ONCE = 40


async def reads_of(
    read_db: ReadDatabase, projection: Projection, history: History, monkeypatch: pytest.MonkeyPatch
) -> int:
    """How often rows are read when a projector that knows none goes on in the middle of a history."""
    half = len(history.events) // 2
    await Projector(read_db, history).follow(await builds_of(read_db, [projection]), history.events[:half])
    count, read = 0, WorkingRows._read

    def counted(self: WorkingRows, *arguments: object) -> None:
        nonlocal count
        count += 1
        read(self, *arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(WorkingRows, "_read", counted)
    await Projector(read_db, history).follow(await builds_of(read_db, [projection]), history.events[half:])
    monkeypatch.undo()
    return count


@pytest.mark.parametrize("looks", [True, False])
async def test_what_is_open_is_read_at_once(
    read_db: ReadDatabase, monkeypatch: pytest.MonkeyPatch, looks: bool
) -> None:
    history = history_of(3, executions=AT_ONCE, at_once=AT_ONCE)
    projection = EXECUTION_TIMELINE if looks else replace(EXECUTION_TIMELINE, look_ahead=None)
    reads = await reads_of(read_db, projection, history, monkeypatch)
    assert reads < AT_ONCE / 2 if looks else reads > AT_ONCE
    assert await stored(read_db, [projection]) == expected([projection], history.events)
