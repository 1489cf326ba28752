"""Audit: signed checkpoints of the log, proofs against them, an execution with its proofs."""

from __future__ import annotations

from typing import Annotated

import msgspec
from litestar import get
from litestar.params import FromPath

from application.audit.notes import Checkpoint
from application.audit.proofs import Consistency, Inclusion
from interfaces.http.answers import Answer, json_answer
from interfaces.http.identifiers import checked_id
from interfaces.http.lines import MEDIA_TYPE, Lines
from interfaces.http.operation import operation, page_of
from interfaces.http.queries import Cursor, Limit, asked, faulty, next_url, read_query
from interfaces.http.request import ApiRequest
from projections.paging import DEFAULT_LIMIT, read_cursor, write_cursor

TAG = "Audit"
PROBLEMS = ("malformed", "log_unavailable", "unavailable")
WHOLE_LOG = "checkpoints"

Position = Annotated[int, msgspec.Meta(ge=1, le=2**63 - 1, description="A position in the log.")]
Size = Annotated[
    int, msgspec.Meta(ge=1, le=2**63 - 1, description="Of a checkpoint; left out: the newest one.")
]
FromSize = Annotated[int, msgspec.Meta(ge=1, le=2**63 - 1, description="Of the earlier checkpoint.")]
BundleLines = Annotated[
    str,
    msgspec.Meta(
        description="The head (stream, events, checkpoint, key), then each event: position, version, tag, "
        "body and metadata (base64 of the stored bytes), path (base64 hashes from the leaf up)."
    ),
]


class CheckpointsQuery(msgspec.Struct, frozen=True, kw_only=True):
    """A page of them."""

    limit: Limit = DEFAULT_LIMIT
    cursor: Cursor | None = None


class InclusionQuery(msgspec.Struct, frozen=True, kw_only=True):
    """Which event, in which checkpoint."""

    position: Position | None = None
    size: Size | None = None


class ConsistencyQuery(msgspec.Struct, frozen=True, kw_only=True):
    """Which two checkpoints."""

    from_size: FromSize | None = msgspec.field(name="from", default=None)
    to_size: Size | None = msgspec.field(name="to", default=None)


class NoQuery(msgspec.Struct, frozen=True):
    """This route takes no parameters."""


@get(
    "/v1/audit/checkpoints",
    opt=operation(
        "list_checkpoints",
        "Signed checkpoints of the log, newest first",
        tag=TAG,
        query=CheckpointsQuery,
        answer={200: page_of(Checkpoint)},
        problems=PROBLEMS,
        gives=("Link",),
    ),
)
async def checkpoints(request: ApiRequest) -> Answer:
    """`note` is the signed text (C2SP checkpoint): keep one elsewhere, and nobody can write the log anew
    before it unnoticed."""
    query = read_query(request, CheckpointsQuery)
    before = None
    if query.cursor is not None:
        before = int((await asked(position_in(query.cursor, request.tenant)))[0])
    found = await request.parts.audit.checkpoints(before, query.limit + 1)
    shown, cursor, fields = found[: query.limit], None, {}
    if len(found) > query.limit:
        cursor = write_cursor((shown[-1].size,), WHOLE_LOG, request.tenant)
        fields["Link"] = f'<{next_url(request, cursor)}>; rel="next"'
    return json_answer({"items": shown, "next_cursor": cursor}, headers=fields)


async def position_in(cursor: str, tenant: str) -> tuple[str | int, ...]:
    return read_cursor(cursor, WHOLE_LOG, tenant, (int,))


@get(
    "/v1/audit/proofs/inclusion",
    opt=operation(
        "prove_inclusion",
        "The proof that an event is part of the log",
        tag=TAG,
        query=InclusionQuery,
        answer={200: Inclusion},
        problems=(*PROBLEMS, "not_found"),
    ),
)
async def inclusion(request: ApiRequest) -> Answer:
    """The path from the event's hash to the root of a checkpoint (RFC 6962, section 2.1.1)."""
    query = read_query(request, InclusionQuery)
    if query.position is None:
        raise faulty("position", "is missing")
    return json_answer(await request.parts.audit.inclusion(query.position, query.size))


@get(
    "/v1/audit/proofs/consistency",
    opt=operation(
        "prove_consistency",
        "The proof that the log only grew between two checkpoints",
        tag=TAG,
        query=ConsistencyQuery,
        answer={200: Consistency},
        problems=(*PROBLEMS, "not_found"),
    ),
)
async def consistency(request: ApiRequest) -> Answer:
    """The path between the roots of two checkpoints (RFC 6962, section 2.1.2)."""
    query = read_query(request, ConsistencyQuery)
    if query.from_size is None:
        raise faulty("from", "is missing")
    return json_answer(await asked(request.parts.audit.consistency(query.from_size, query.to_size)))


@get(
    "/v1/executions/{execution_id:str}/audit-bundle",
    opt=operation(
        "get_audit_bundle",
        "Every event of an execution with its proof, to be checked offline",
        tag=TAG,
        query=NoQuery,
        answer={200: BundleLines},
        media_types=(MEDIA_TYPE,),
        problems=(*PROBLEMS, "not_found", "not_caught_up"),
    ),
)
async def bundle(request: ApiRequest, execution_id: FromPath[str]) -> Lines:
    """For `kasal audit verify FILE`. 503 until a checkpoint has the execution's last event."""
    read_query(request, NoQuery)
    found_by = checked_id("execution", execution_id)
    lines = await request.parts.audit.bundle(request.tenant, f"execution-{found_by}")
    return Lines(lines, f"{found_by}.audit.ndjson")


ROUTES = (checkpoints, inclusion, consistency, bundle)
