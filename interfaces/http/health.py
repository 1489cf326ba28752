"""Whether the process lives, and whether it is ready for commands.

Called by orchestrators; public. Its one rule: readiness is the event log's alone; what is missing besides
makes answers late, but loses nothing.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Annotated

import msgspec
from litestar import get

from domain.errors import KasalError
from interfaces.http.answers import Answer, json_answer
from interfaces.http.operation import operation
from interfaces.http.parts import Check
from interfaces.http.queries import read_query
from interfaces.http.request import ApiRequest
from interfaces.problems import Refused

TAG = "Health"
CHECK_TIMEOUT_S = 5.0


class Alive(msgspec.Struct, frozen=True):
    status: str = "ok"


class Readiness(msgspec.Struct, frozen=True, omit_defaults=True):
    """status: ok, or degraded when something that is not required is away. checks: with ?verbose, by name."""

    status: str
    checks: dict[str, str] = {}


class ReadyQuery(msgspec.Struct, frozen=True, kw_only=True):
    """How much to say."""

    verbose: Annotated[str, msgspec.Meta(description="Every check by name; `?verbose` is enough.")] | None = (
        None
    )


@get(
    "/livez",
    opt=operation("livez", "The process lives", tag=TAG, answer={200: Alive}, is_public=True),
)
async def livez(request: ApiRequest) -> Answer:
    """Asks nothing else."""
    return json_answer(Alive())


@get(
    "/readyz",
    opt=operation(
        "readyz",
        "Commands can be accepted",
        tag=TAG,
        query=ReadyQuery,
        answer={200: Readiness},
        problems=("malformed", "unavailable"),
        is_public=True,
    ),
)
async def readyz(request: ApiRequest) -> Answer:
    """200 while the event log can be written; NATS or the read tables being away only degrades it."""
    query = read_query(request, ReadyQuery)
    is_verbose = query.verbose is not None and query.verbose.lower() not in ("0", "false", "no")
    required, others = await asyncio.gather(
        outcomes(request.parts.required), outcomes(request.parts.degraded)
    )
    if failed := [name for name, outcome in required.items() if outcome != "ok"]:
        raise Refused("unavailable", f"not ready: {', '.join(failed)}", headers={"Retry-After": "1"})
    is_whole = all(outcome == "ok" for outcome in others.values())
    checks = {**required, **others} if is_verbose else {}
    return json_answer(Readiness("ok" if is_whole else "degraded", checks))


async def outcomes(checks: Mapping[str, Check]) -> dict[str, str]:
    """`ok`, or the problem's code, of each check by name."""
    results = await asyncio.gather(*(outcome_of(check) for check in checks.values()))
    return dict(zip(checks, results, strict=True))


async def outcome_of(check: Check) -> str:
    try:
        async with asyncio.timeout(CHECK_TIMEOUT_S):
            await check()
    except TimeoutError:
        return "timeout"
    except (KasalError, OSError) as error:
        return type(error).__name__
    return "ok"
