"""Executions, what people answer to them: how a call came out that nobody knows of, if an output will do.

Called by whoever finds an execution WAITING. Its one rule: an answer names what it answers, by an id that the
execution's `waits` have; one that nothing waits for (any more) is refused.
"""

from __future__ import annotations

from hashlib import sha256
from typing import Annotated, Literal

import msgspec
from litestar import post
from litestar.params import FromPath

from application.contents import Part, set_aside
from domain.errors import Fault, Invalid
from domain.execution import Content, Execution, ReviewTask, SettleCall
from interfaces.http.answers import Accepted, Answer
from interfaces.http.bodies import read_json
from interfaces.http.commanding import answer, canonical, command
from interfaces.http.executions import PROJECTIONS, TAG
from interfaces.http.identifiers import checked_answer_id, checked_id
from interfaces.http.operation import (
    BODY_PROBLEMS,
    COMMAND_GIVES,
    COMMAND_HEADERS,
    COMMAND_PROBLEMS,
    operation,
)
from interfaces.http.request import ApiRequest

PROBLEMS = (*COMMAND_PROBLEMS, *BODY_PROBLEMS, "not_found", "precondition_failed", "key_reused")
HEADERS = (*COMMAND_HEADERS, "If-Match")


class Happened(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """result: what the tool would have answered; the agent goes on with it."""

    result: Annotated[str, msgspec.Meta(max_length=500_000)]


class DidNotHappen(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Nothing more to say: the call is sent again."""


class Failed(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """message: why, for the history; the execution fails with it."""

    message: Annotated[str, msgspec.Meta(max_length=2_000)] = ""


class CallOutcome(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """What became of a call; exactly one of the three."""

    happened: Happened | None = None
    did_not_happen: DidNotHappen | None = None
    failed: Failed | None = None

    @property
    def kind(self) -> Literal["happened", "did_not_happen", "failed"]:
        """Raises `Invalid` unless exactly one is given."""
        kinds: tuple[Literal["happened", "did_not_happen", "failed"], ...]
        kinds = ("happened", "did_not_happen", "failed")
        given = [kind for kind in kinds if getattr(self, kind) is not None]
        if len(given) != 1:
            raise Invalid(f"expected one of {', '.join(kinds)}", (Fault("", "expected exactly one of them"),))
        return given[0]


class Review(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """approved: the output will do. feedback: why not; the agent tries again with it."""

    approved: bool
    feedback: Annotated[str, msgspec.Meta(max_length=20_000)] = ""

    def check(self) -> None:
        """Raises `Invalid` when the feedback is missing, or has nobody to read it."""
        if self.approved == bool(self.feedback.strip()):
            expected = (
                "expected none beside approved: true" if self.approved else "expected what to do better"
            )
            raise Invalid(f"feedback: {expected}", (Fault("/feedback", expected),))


def content_of(text: str) -> Content:
    whole = text.encode()
    return Content(sha256(whole).hexdigest(), len(whole), text)


@post(
    "/v1/executions/{execution_id:str}/calls/{call:str}/outcome",
    opt=operation(
        "settle_call",
        "Say what became of a call",
        tag=TAG,
        body=CallOutcome,
        examples={
            "it_happened": {"happened": {"result": "Order 4711 was placed"}},
            "it_did_not": {"did_not_happen": {}},
            "give_up": {"failed": {"message": "The order has to be looked into"}},
        },
        answer={202: Accepted},
        problems=PROBLEMS,
        headers=HEADERS,
        gives=COMMAND_GIVES,
    ),
)
async def settle(request: ApiRequest, execution_id: FromPath[str], call: FromPath[str]) -> Answer:
    """A runner died between a tool call and its answer, and the tool is not idempotent: the execution waits
    (`unknown_outcome`) until somebody has looked. Refused (409) when it does not wait for this call."""
    wanted = await read_json(request, CallOutcome)
    kind = wanted.kind
    wish = SettleCall(
        execution_id=checked_id("execution", execution_id),
        call=checked_answer_id("call", call),
        outcome=kind,
        result=content_of(wanted.happened.result) if wanted.happened else None,
        message=wanted.failed.message if wanted.failed else "",
    )
    wish, large = set_aside(wish)
    return await answered(request, wish, canonical(wanted), large)


@post(
    "/v1/executions/{execution_id:str}/reviews/{review:str}",
    opt=operation(
        "review_task",
        "Approve an output, or have the agent try again",
        tag=TAG,
        body=Review,
        examples={
            "approve": {"approved": True},
            "try_again": {"approved": False, "feedback": "Half as long, and no date"},
        },
        answer={202: Accepted},
        problems=PROBLEMS,
        headers=HEADERS,
        gives=COMMAND_GIVES,
    ),
)
async def review(request: ApiRequest, execution_id: FromPath[str], review: FromPath[str]) -> Answer:
    """A task with `human_input` waits for this with its output. Refused (409) when it does not wait for this
    review."""
    wanted = await read_json(request, Review)
    wanted.check()
    wish = ReviewTask(
        execution_id=checked_id("execution", execution_id),
        review=checked_answer_id("review", review),
        is_approved=wanted.approved,
        feedback=wanted.feedback,
    )
    return await answered(request, wish, canonical(wanted))


async def answered(
    request: ApiRequest, wish: SettleCall | ReviewTask, body: bytes, contents: tuple[Part, ...] = ()
) -> Answer:
    outcome = await command(request, wish, body, stream=wish.stream, contents=contents)
    state = outcome.state
    status = state.status if isinstance(state, Execution) else None
    return await answer(request, outcome, projections=PROJECTIONS, execution_status=status)
