"""What an erasure does to a read model: the execution's rows go, and its events are folded again.

Called by `advance.fold` and by the projector. Its one rule: whatever a fold makes of what is left, nothing of
what was there before stays.
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from domain.execution import ExecutionArchived, ExecutionErased
from domain.message import Recorded, tag_of
from projections.projection import FOLD_ERRORS, Fact, Projection, fact_of, facts_of
from projections.rows import WorkingRows
from projections.stream_reader import LogReader

ERASED, ARCHIVED = tag_of(ExecutionErased), tag_of(ExecutionArchived)


async def with_past(events: Sequence[Recorded], log: LogReader) -> list[Fact]:
    """The events as facts; an erasure brings the stream's past along. Raises `Unavailable`."""
    facts = facts_of(events)
    for number, fact in enumerate(facts):
        if fact.tag == ERASED:
            before = [e for e in await log.read_stream(fact.stream) if e.version < fact.version]
            facts[number] = msgspec.structs.replace(fact, past=tuple(map(fact_of, before)))
    return facts


def fold_anew(projection: Projection, rows: WorkingRows, fact: Fact) -> Exception | None:
    """Of an erasure. Returns why not all could be folded; then the execution has no rows.

    One that is archived has left the read models already, but for its place in the list of those.
    """
    is_archived = any(past.tag == ARCHIVED for past in fact.past)
    drop(projection, rows, fact.entity_id)
    try:
        for each in fact.past if is_archived else (*fact.past, fact):
            projection.fold(rows, each)
    except FOLD_ERRORS as error:
        drop(projection, rows, fact.entity_id)
        return error
    return None


def drop(projection: Projection, rows: WorkingRows, execution_id: str) -> None:
    for table in projection.tables:
        rows.remove_all(table, execution_id)
