"""What a log must show after any fault: what was acknowledged is stored, once, and nothing has a hole."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Iterable
from typing import TypeAlias

from application.ports import Append, Appended, EventLog
from domain.message import Recorded

Answers: TypeAlias = dict[Append, Appended | BaseException]
"""What each command of a test was answered."""


async def every_event(log: EventLog) -> list[Recorded]:
    events: list[Recorded] = []
    while page := await log.read_all(len(events), 500):
        events += page
    return events


async def appended(log: EventLog, appends: Iterable[Append]) -> Answers:
    """All at once; what each was answered."""
    commands = list(appends)
    answers = await asyncio.gather(*map(log.append, commands), return_exceptions=True)
    return dict(zip(commands, answers, strict=True))


async def assert_one_effect(log: EventLog, answers: Answers) -> None:
    """Positions 1..n; versions 1..n in each stream; what was acknowledged is there, once."""
    events = await every_event(log)
    assert [event.position for event in events] == list(range(1, len(events) + 1))
    versions: Counter[str] = Counter()
    for event in events:
        versions[event.stream] += 1
        assert event.version == versions[event.stream]
    effects = Counter(event.metadata.command_id for event in events)
    for command, answer in answers.items():
        command_id = command.events[0].metadata.command_id
        if isinstance(answer, Appended):
            assert effects[command_id] == len(command.events)
            last = events[answer.position - 1]
            assert (last.stream, last.version) == (command.stream, answer.version)
            assert last.metadata.command_id == command_id
        else:
            assert effects[command_id] in (0, len(command.events))
