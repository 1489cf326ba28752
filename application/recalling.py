"""What a runner reads over the command channel before it begins: the step's past, and what it builds on.

Called by `application.runs`. Its one rule: a text comes whole, or its outcome is handed on without it, and
whoever asks for that outcome sees that it was lost.
"""

from __future__ import annotations

from contextlib import suppress

import msgspec

from application.asking import Channel
from application.channel_messages import ReadJournal, ReadOutputs, Reply
from application.contents import bring_back, whole_outputs
from application.ports import Assignment, Prior
from domain.errors import NotFound
from domain.execution import Journaled, TaskOutput


async def with_past(channel: Channel, assignment: Assignment, past: Reply | None) -> Assignment:
    """The assignment with the known outcomes of the step's calls, page by page, each with its whole text, the
    calls of which nobody knows, and what people said of the outputs. past: all that, where it is here."""
    pages: list[Journaled | Prior] = []
    has_more = True
    while has_more:
        asked = ReadJournal(execution_id=assignment.execution_id, step=assignment.step, offset=len(pages))
        reply = past or await channel.send(asked)
        if reply.missing:
            raise NotFound(reply.missing[0])
        pages.extend(reply.journal)
        has_more = reply.has_more
    journal: list[Journaled | Prior] = []
    for entry in pages:
        outcome = entry.outcome if isinstance(entry, Prior) else entry
        with suppress(NotFound):
            outcome = await bring_back(outcome, channel.text)
        journal.append(
            msgspec.structs.replace(entry, outcome=outcome) if isinstance(entry, Prior) else outcome
        )
    return msgspec.structs.replace(
        assignment, journal=tuple(journal), unknown=reply.unknown, reviews=reply.reviews
    )


async def read_outputs(channel: Channel, assignment: Assignment, *, has_more: bool) -> dict[str, TaskOutput]:
    """The outputs of earlier steps that the step sees, whole. Raises `NotFound` for one that was erased.

    has_more  the assignment had no room for them
    """
    outputs, begun = dict(assignment.outputs), ""
    while has_more:
        asked = ReadOutputs(
            execution_id=assignment.execution_id,
            step=assignment.step,
            offset=len(outputs),
            characters=len(begun),
        )
        reply = await channel.send(asked)
        for name, output in reply.outputs.items():
            whole = msgspec.structs.replace(output, text=begun + output.text) if begun else output
            begun = whole.text if reply.is_piece else ""
            if not reply.is_piece:
                outputs[name] = whole
        has_more = reply.has_more
    return await whole_outputs(outputs, channel.text)
