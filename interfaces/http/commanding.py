"""From a request to a command and back: context, idempotency, preconditions, the answer.

Called by every route that changes something. Its one rule: the answer to a repeat is the answer of the first
time.
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from application.commands import Context, Idempotency, Outcome, Preparation
from application.contents import Part
from domain.errors import NotCaughtUp, PreconditionFailed, Unavailable
from domain.registry import AnyCommand
from interfaces.http import headers
from interfaces.http.answers import Answer, accepted
from interfaces.http.request import ApiRequest
from projections.positions import wait_for

NEVER = 0
"""The version that no stream with an event has."""


def canonical(value: object, *, ordered: bool = False) -> bytes:
    """The same bytes for the same request. `ordered`: the order of keys has a meaning, as in documents."""
    return msgspec.json.encode(value, order=None if ordered else "sorted")


def context_of(request: ApiRequest, body: bytes = b"") -> Context:
    """On whose behalf; `body`: the canonical one, to tell a repeat from a reuse of the idempotency key."""
    return Context(
        actor=request.actor,
        tenant=request.tenant,
        traceparent=headers.traceparent(request.header("traceparent")),
        idempotency=idempotency_of(request, body),
    )


def idempotency_of(request: ApiRequest, body: bytes) -> Idempotency | None:
    scope = f"{request.tenant} {request.scope['method']} {request.scope['path']}"
    return headers.idempotency(request.header("idempotency-key"), scope, body)


async def command(
    request: ApiRequest,
    wish: AnyCommand | Preparation,
    body: bytes = b"",
    *,
    stream: str = "",
    contents: tuple[Part, ...] = (),
) -> Outcome:
    """Handle a wish. `stream`: the one that If-Match speaks of; "" where it speaks of nothing yet.
    `contents`: texts that its events name."""
    context = msgspec.structs.replace(context_of(request, body), contents=contents)
    if_match = request.header("if-match")
    versions = headers.versions_matched(if_match) if if_match is not None and stream else None
    if versions is None:
        return await request.parts.commands.handle(wish, context)
    return await command_at(request, wish, context, versions, stream)


async def command_at(
    request: ApiRequest, wish: AnyCommand | Preparation, context: Context, versions: list[int], stream: str
) -> Outcome:
    """With If-Match: at one of the versions, or `PreconditionFailed`."""
    failed: PreconditionFailed | None = None
    for version in sorted(set(versions), reverse=True) or [NEVER]:
        at = msgspec.structs.replace(context, expected_version=version)
        try:
            return await request.parts.commands.handle(wish, at)
        except PreconditionFailed as error:
            failed = error
    raise failed or PreconditionFailed(stream, NEVER, NEVER)


async def answer(
    request: ApiRequest,
    outcome: Outcome,
    *,
    projections: Sequence[str],
    status: int = 202,
    location: str | None = None,
    entity_id: str | None = None,
    execution_status: str | None = None,
) -> Answer:
    """201 or 202; with `Prefer: wait=N` as soon as the projections have it, or after N seconds."""
    fields: dict[str, str] = {}
    if location is not None:
        fields["Location"] = location
    wait_s = headers.wait_s(request.header("prefer"))
    if wait_s is not None and await is_reached(request, projections, outcome.position, wait_s):
        fields["Preference-Applied"] = f"wait={wait_s}"
    return accepted(
        outcome,
        status,
        fields,
        entity_id=outcome.entity_id if entity_id is None else entity_id,
        execution_status=execution_status,
    )


async def is_reached(
    request: ApiRequest, projections: Sequence[str], position: int, timeout_s: float
) -> bool:
    try:
        await wait_for(request.parts.read, projections, position, timeout_s)
    except (NotCaughtUp, Unavailable):
        return False
    return True
