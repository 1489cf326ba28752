"""To which workflow an event belongs: its own stream's id, or what its execution was started from.

Called by streams and webhooks that are narrowed down to one workflow. Its one rule: the first event of an
execution says it and never changes, so what was learned once is true for ever.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from typing import Protocol

import msgspec

from domain.execution import ExecutionRequested
from domain.message import Recorded, tag_of

REMEMBERED = 50_000
REQUESTED = tag_of(ExecutionRequested)


class StreamReader(Protocol):
    """The part of `EventLog` that is asked about an execution that was begun before we looked."""

    async def read_stream(self, stream: str, after_version: int = 0) -> Sequence[Recorded]: ...


class Origin(msgspec.Struct, frozen=True):
    """What is read of an execution's first event."""

    workflow_id: str | None = None


class WorkflowIndex:
    """Remembers the workflow of the executions it was asked about last."""

    def __init__(self, log: StreamReader) -> None:
        self._log = log
        self._known: OrderedDict[str, str] = OrderedDict()

    async def of(self, recorded: Recorded) -> str:
        """The workflow's id; "" for an execution of an inline definition, and for all other events."""
        if recorded.category == "workflow":
            return recorded.entity_id
        if recorded.category != "execution":
            return ""
        known = self._known.get(recorded.stream)
        if known is None:
            known = await self._origin(recorded)
            self._known[recorded.stream] = known
            if len(self._known) > REMEMBERED:
                self._known.popitem(last=False)
        return known

    async def _origin(self, recorded: Recorded) -> str:
        """Costs one read of the stream, unless this is its first event."""
        first = recorded
        if recorded.tag != REQUESTED:
            first = (await self._log.read_stream(recorded.stream))[0]
        return _decoder.decode(first.body).workflow_id or ""


_decoder = msgspec.json.Decoder(Origin)
