"""The rows of execution_timeline: a bar for everything that took time, and what of it is still open.

Used by `execution_timeline.py`, which folds events into them.
"""

from __future__ import annotations

import msgspec
from sqlalchemy import Index, MetaData, Table

from domain.execution import Origin
from projections.tables import ReadTable, doc, key, number, text

NAME = "execution_timeline"


class Text(msgspec.Struct):
    """A text of a call. is_stored: it is too long for its event; `GET /v1/contents/{digest}` has it whole."""

    digest: str
    size_bytes: int
    is_stored: bool


class Entry(msgspec.Struct, kw_only=True):
    """A bar of the timeline.

    kind      step (one attempt of it), router, task, model_call, tool_call or wait (`wait_kind`: for what)
    entry     its id within the execution
    status    running, completed, failed, interrupted: its attempt or execution ended before it did; or, of a
              fork, reused: it was not done, but taken from its past
    origin    of a reused call: where it was made, and answered; its tokens and cost are those of then
    model     that was asked; once there is an answer, that answered
    input     of a call: the messages, or the arguments; output: what came back
    position  of the event that began it: the order of the timeline
    """

    execution_id: str
    tenant: str
    entry: str
    kind: str
    status: str = "running"
    step: str
    attempt: int
    task: str | None = None
    agent: str | None = None
    runner: str | None = None
    model: str | None = None
    tool: str | None = None
    route: str | None = None
    wait_kind: str | None = None
    started_at: str
    ended_at: str | None = None
    duration_ms: int | None = None
    prompt_tokens: int | None = None
    completion_tokens: int | None = None
    cost_usd: float | None = None
    error: str | None = None
    input: Text | None = None
    output: Text | None = None
    origin: Origin | None = None
    position: int


class Run(msgspec.Struct):
    """open: entries that are running, and the step of each."""

    execution_id: str
    tenant: str
    open: dict[str, str]


ENTRIES = ReadTable(
    Entry,
    Table(
        NAME,
        MetaData(),
        key("execution_id"),
        key("entry"),
        text("tenant"),
        number("position"),
        doc(),
        Index("by_position", "execution_id", "position"),
    ),
)
RUNS = ReadTable(
    Run,
    Table("execution_timeline_runs", MetaData(), key("execution_id"), text("tenant"), doc()),
    category="execution",
)
