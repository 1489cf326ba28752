"""The wire between runners and a process that has the log: `Request` and `Reply`, as JSON.

Made and read by `application.asking` (the runner's side) and `application.channel` (the log's side). Its one
rule: every field has a default or was there from the first, so that processes of two versions understand
each other.
"""

from __future__ import annotations

import msgspec

from application.contents import Part
from application.ports import Assignment, PastReview, Prior, UnknownCall
from domain.execution import Journaled, RecordProgress, StartStep, TaskOutput


class ReadJournal(msgspec.Struct, frozen=True, kw_only=True, tag_field="type", tag="ReadJournal"):
    """From a runner that begins a step again: the known outcomes of its calls, from the `offset`-th on."""

    execution_id: str
    step: str
    offset: int


class ReadOutputs(msgspec.Struct, frozen=True, kw_only=True, tag_field="type", tag="ReadOutputs"):
    """From a runner whose assignment had no room for the outputs of earlier steps: from the `offset`-th
    on. characters: of that one's text, which are there already."""

    execution_id: str
    step: str
    offset: int
    characters: int = 0


class PutContent(msgspec.Struct, frozen=True, kw_only=True, tag_field="type", tag="PutContent"):
    """From a runner that is about to report an entry with a text too large for a message."""

    execution_id: str
    part: Part


class ReadContent(msgspec.Struct, frozen=True, kw_only=True, tag_field="type", tag="ReadContent"):
    """From a runner that was given a digest: one part of the text."""

    execution_id: str
    digest: str
    number: int


Asked = ReadJournal | ReadOutputs | PutContent | ReadContent
"""What changes no execution."""


class Request(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A runner's command. The ids are those of the work that it was given.

    contents  whole texts that the entries of a report name
    claims_later  the claim of work that nobody ever began may come with its first report
    """

    runner: str
    command: StartStep | RecordProgress | Asked
    contents: tuple[Part, ...] = ()
    claims_later: bool = False
    tenant: str = "default"
    correlation_id: str | None = None
    causation_id: str | None = None
    traceparent: str | None = None


class Reply(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """assignment: of a claim that was granted. retry_after_s: nothing was done, ask again.

    is_unclaimed: the assignment is what the claim would be granted now; its first report has to bring it.

    refused: why the runner has to stop; is_over: nobody will need the work again.
    is_draining: begin nothing more, report how what is in flight comes out, then let go. With `refused`
    nothing of the report was recorded; without, what it would have begun was not.
    is_held: the attempt before still does that; claim again later.
    journal, outputs, part: what was asked for; has_more: and there is more, behind it. is_piece: the text of
    the one output goes on, too.
    unknown, reviews: with the journal's last page.
    past: of a claim that was granted, the answer to `ReadJournal`, where there is room for it.
    missing: contents that are not there; a report that names them was not recorded, send it with them. Of a
    journal: why it can not be had any more.
    """

    assignment: Assignment | None = None
    is_unclaimed: bool = False
    journal: tuple[Journaled | Prior, ...] = ()
    unknown: tuple[UnknownCall, ...] = ()
    reviews: tuple[PastReview, ...] = ()
    past: Reply | None = None
    outputs: dict[str, TaskOutput] = {}
    part: Part | None = None
    has_more: bool = False
    is_piece: bool = False
    missing: tuple[str, ...] = ()
    refused: str = ""
    is_over: bool = False
    is_draining: bool = False
    is_held: bool = False
    retry_after_s: float = 0
