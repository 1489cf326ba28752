"""Playing a history again: how far, how fast, and what is shown."""

from __future__ import annotations

import io
from collections.abc import Iterator
from typing import Any

import click
import msgspec
import pytest
from rich.console import Console

from interfaces.live import Picture
from interfaces.operations.replay import limited, paced, place, played, replay, stepped
from projections.projection import timestamp
from tests.projections.histories import history_of

STORY: list[dict[str, Any]] = [
    {
        "version": version,
        "at": f"2026-03-03T14:03:{second}Z",
        "type": f"execution.{kind}",
        "data": data,
    }
    for version, (second, kind, data) in enumerate(
        [
            ("00.000000", "requested", {"name": "Tea"}),
            ("00.500000", "step_started", {"step": "crew", "runner": "r1", "attempt": 1}),
            ("01.500000", "task_started", {"step": "crew", "task": "write", "agent": "writer"}),
            (
                "02.000000",
                "model_call_started",
                {
                    "call": "c",
                    "task": "write",
                    "request": {"text": "Please", "size_bytes": 6, "digest": "d" * 64},
                },
            ),
            (
                "50.000000",
                "model_call_completed",
                {
                    "task": "write",
                    "model": "m",
                    "prompt_tokens": 5,
                    "completion_tokens": 2,
                    "cost_usd": 0.25,
                    "duration_ms": 48_000,
                    "response": {"text": "Boil [water]", "size_bytes": 12, "digest": "e" * 64},
                },
            ),
            ("51.000000", "task_completed", {"step": "crew", "task": "write", "duration_ms": 49_500}),
            ("51.500000", "completed", {"output": {"text": "Boil it"}}),
        ],
        1,
    )
]


def placed(text: str) -> Any:
    return place(click.Context(replay), replay.params[0], text)


def versions(entries: Iterator[dict[str, Any]]) -> list[int]:
    return [entry["version"] for entry in entries]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("3", [1, 2, 3]),
        ("2026-03-03T14:03:02Z", [1, 2, 3, 4]),
        ("2026-03-03T15:03:01.9+01:00", [1, 2, 3]),
        ("execution.task_started", [1, 2, 3]),
        ("99", [1, 2, 3, 4, 5, 6, 7]),
    ],
)
def test_it_stops_where_it_is_told_to(text: str, expected: list[int]) -> None:
    assert versions(limited(iter(STORY), placed(text))) == expected


def test_a_time_without_a_zone_is_refused() -> None:
    with pytest.raises(click.BadParameter, match="zone"):
        placed("2026-03-03T14:03:00")


def test_pauses_are_as_they_were_but_faster_and_never_long() -> None:
    pauses: list[float] = []
    assert versions(paced(iter(STORY), 2, pauses.append)) == [1, 2, 3, 4, 5, 6, 7]
    assert pauses == [0.25, 0.5, 0.25, 5.0, 0.5, 0.25]
    pauses.clear()
    list(paced(iter(STORY), None, pauses.append))
    assert pauses == []


@pytest.mark.parametrize("is_terminal", [False, True])
def test_what_is_played_ends_as_it_ended_in_the_time_that_it_took(is_terminal: bool) -> None:
    out = io.StringIO()
    console = Console(file=out, force_terminal=is_terminal, width=120)
    picture = played(console, iter(STORY), live=True)
    assert (picture.status, picture.output, picture.tasks["write"].tokens) == ("COMPLETED", "Boil it", 7)
    assert picture.tasks["write"].seconds == 49.5
    console.print(picture.draw())
    assert "51.5 s" in out.getvalue()


def test_any_history_can_be_played() -> None:
    """Steps beside one another, tasks that were taken over, retries: whatever a log can hold."""
    streams: dict[str, list[dict[str, Any]]] = {}
    for recorded in history_of(7, executions=12).events:
        data = msgspec.json.decode(recorded.body)
        entry = {"version": recorded.version, "at": timestamp(recorded.metadata.at), "type": recorded.tag}
        streams.setdefault(recorded.stream, []).append(entry | {"data": data})
    ended = 0
    for stream, entries in streams.items():
        if stream.startswith("execution-"):
            picture = played(Console(file=io.StringIO(), width=120), iter(entries), live=False)
            assert picture.events == len(entries)
            picture.draw()
            ended += picture.status in ("COMPLETED", "FAILED", "CANCELLED")
    assert ended


def test_steps_beside_one_another_and_tasks_that_were_taken_over_are_shown() -> None:
    picture = Picture()
    for kind, data in (
        ("task_reused", {"step": "a", "task": "old", "output": {"text": "x"}}),
        ("step_started", {"step": "b", "runner": "r", "attempt": 1}),
        ("task_started", {"step": "b", "task": "one", "agent": "w"}),
        ("step_started", {"step": "c", "runner": "r", "attempt": 1}),
        ("task_reviewed", {"step": "b", "task": "one", "verdict": "ok"}),
        ("task_completed", {"step": "b", "task": "one", "duration_ms": 5}),
        ("task_completed", {"step": "c", "task": "unseen", "duration_ms": 5}),
    ):
        picture.add({"type": f"io.kasal.execution.{kind}", "data": data})
    assert {name: row.state for name, row in picture.tasks.items()} == {
        "old": "done",
        "one": "done",
        "unseen": "done",
    }
    picture.add(
        {"type": "io.kasal.execution.step_started", "data": {"step": "b", "runner": "r", "attempt": 2}}
    )
    assert set(picture.tasks) == {"old", "unseen"}


def test_lines_tell_version_time_and_event() -> None:
    out = io.StringIO()
    played(Console(file=out, width=120), iter(STORY), live=False)
    lines = out.getvalue().splitlines()
    assert len(lines) == len(STORY)
    assert lines[2].split() == ["3", "14:03:01.500", "task", "write", "begun", "by", "writer"]


def test_step_by_step_shows_what_was_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO("\n" * 4))
    out = io.StringIO()
    picture = stepped(Console(file=out, width=120), iter(STORY))
    assert "Please" in out.getvalue()
    assert "Boil [water]" in out.getvalue()
    assert picture.events == 5
