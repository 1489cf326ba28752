"""Webhooks, the commands: subscribe an endpoint, pause, resume, test, rotate its secret, send again."""

from __future__ import annotations

from datetime import timedelta
from typing import Annotated, Any

import msgspec
from litestar import delete, post, put
from litestar.params import FromPath

from application.webhooks.signing import Secrets
from domain.errors import Fault, Invalid, Rejected
from domain.event_filter import EventFilter, stored_types, unknown_types
from domain.registry import EVENT_TYPES
from domain.subscription import (
    SUBSCRIPTION,
    CreateSubscription,
    DeleteSubscription,
    PauseSubscription,
    ReplayDeliveries,
    ResumeSubscription,
    ReviseSubscription,
    RotateSecret,
    SubscriptionCommands,
    TestSubscription,
    WebhookUrl,
)
from interfaces.http.answers import Accepted, Answer
from interfaces.http.bodies import read_json, read_nothing
from interfaces.http.commanding import answer, canonical, command
from interfaces.http.identifiers import checked_id
from interfaces.http.operation import (
    BODY_PROBLEMS,
    COMMAND_GIVES,
    COMMAND_HEADERS,
    COMMAND_PROBLEMS,
    operation,
)
from interfaces.http.queries import (
    check_position,
)
from interfaces.http.request import ApiRequest
from projections.subscriptions import (
    NAME,
)

TAG = "Subscriptions"
PROJECTIONS = (NAME,)
DAY_S = 86_400
MAX_TYPES = 50

Position = Annotated[int, msgspec.Meta(ge=0, le=2**63 - 1)]
ON_ONE = (*COMMAND_PROBLEMS, *BODY_PROBLEMS, "not_found", "precondition_failed", "key_reused")
HEADERS_OF_ONE = (*COMMAND_HEADERS, "If-Match")

EXAMPLE: dict[str, object] = {
    "url": "https://example.com/hooks/kasal",
    "wanted": {"types": ["execution.completed", "execution.failed"]},
    "description": "Tells the ticket system",
}


class Revised(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """url: https, to a public host. wanted: which events; everything where nothing is said."""

    url: WebhookUrl
    wanted: EventFilter = EventFilter()
    description: Annotated[str, msgspec.Meta(max_length=500)] = ""


class New(Revised, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """after: the position behind which deliveries begin; from now on where none is given."""

    after: Position | None = None


class Resume(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """after: go on behind this position, instead of where it stopped."""

    after: Position | None = None


class Rotation(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """overlap_s: so long the secret before signs too."""

    overlap_s: Annotated[int, msgspec.Meta(ge=0, le=30 * DAY_S)] = DAY_S


class Replay(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """positions: of dead letters; all where none is named."""

    positions: Annotated[tuple[Position, ...], msgspec.Meta(max_length=1_000)] = ()


class WithSecret(Accepted, frozen=True, omit_defaults=True):
    """What a command did, and the secret that signs from now on: shown here and nowhere else."""

    secret: str = ""


def on_one(name: str, summary: str, body: Any = None, *, answer: Any = Accepted) -> dict[str, Any]:
    """The `opt` of a command on a subscription; its body may be left out."""
    return operation(
        name,
        summary,
        tag=TAG,
        body=body,
        is_body_optional=body is not None,
        answer={202: answer},
        problems=(*ON_ONE, "position_gone") if body is Resume else ON_ONE,
        headers=HEADERS_OF_ONE,
        gives=COMMAND_GIVES,
    )


@post(
    "/v1/subscriptions",
    opt=operation(
        "create_subscription",
        "Subscribe an endpoint",
        tag=TAG,
        body=New,
        examples={"ends_of_executions": EXAMPLE},
        answer={201: WithSecret},
        problems=(*COMMAND_PROBLEMS, *BODY_PROBLEMS, "key_reused", "position_gone"),
        headers=COMMAND_HEADERS,
        gives=(*COMMAND_GIVES, "Location"),
    ),
)
async def create(request: ApiRequest) -> Answer:
    """Events are sent as CloudEvents by POST, signed as Standard Webhooks has it, in the order of each
    execution, each at least once."""
    body = await read_json(request, New)
    secrets = secrets_of(request)
    head = await check_position(request, body.after or 0)
    wish = CreateSubscription(
        subscription_id=request.parts.clock.new_id(),
        url=checked_url(request, body.url),
        after=head if body.after is None else body.after,
        wanted=checked_filter(body.wanted),
        description=body.description,
    )
    outcome = await command(request, wish, canonical(body))
    location = f"/v1/subscriptions/{outcome.entity_id}"
    answered = await answer(request, outcome, projections=PROJECTIONS, status=201, location=location)
    return with_secret(answered, secrets.shown(outcome.entity_id, 1))


@put(
    "/v1/subscriptions/{subscription_id:str}",
    opt=operation(
        "revise_subscription",
        "Change where events go, and which",
        tag=TAG,
        body=Revised,
        examples={"ends_of_executions": EXAMPLE},
        answer={202: Accepted},
        problems=ON_ONE,
        headers=HEADERS_OF_ONE,
        gives=COMMAND_GIVES,
    ),
)
async def revise(request: ApiRequest, subscription_id: FromPath[str]) -> Answer:
    """It goes on where it is. What failed before is tried again at once."""
    body = await read_json(request, Revised)
    wish = ReviseSubscription(
        subscription_id=checked_id("subscription", subscription_id),
        url=checked_url(request, body.url),
        wanted=checked_filter(body.wanted),
        description=body.description,
    )
    return await done(request, wish, canonical(body))


@delete(
    "/v1/subscriptions/{subscription_id:str}",
    status_code=202,
    opt=operation(
        "delete_subscription",
        "Send nothing more",
        tag=TAG,
        answer={202: Accepted},
        problems=ON_ONE,
        headers=HEADERS_OF_ONE,
        gives=COMMAND_GIVES,
    ),
)
async def remove(request: ApiRequest, subscription_id: FromPath[str]) -> Answer:
    """Its history stays in the log."""
    await read_nothing(request)
    return await done(
        request, DeleteSubscription(subscription_id=checked_id("subscription", subscription_id))
    )


@post(
    "/v1/subscriptions/{subscription_id:str}/pause",
    opt=on_one("pause_subscription", "Hold deliveries back"),
)
async def pause(request: ApiRequest, subscription_id: FromPath[str]) -> Answer:
    """Nothing is lost: what happens meanwhile is sent after it was resumed."""
    await read_nothing(request)
    return await done(request, PauseSubscription(subscription_id=checked_id("subscription", subscription_id)))


@post(
    "/v1/subscriptions/{subscription_id:str}/resume",
    opt=on_one("resume_subscription", "Go on delivering", Resume),
)
async def resume(request: ApiRequest, subscription_id: FromPath[str]) -> Answer:
    """Where it stopped, or behind a position that you name, forward or back. Also after it was disabled."""
    body = await read_json(request, Resume, is_optional=True)
    await check_position(request, body.after or 0)
    wish = ResumeSubscription(subscription_id=checked_id("subscription", subscription_id), after=body.after)
    return await done(request, wish, canonical(body))


@post(
    "/v1/subscriptions/{subscription_id:str}/rotate-secret",
    opt=on_one("rotate_subscription_secret", "Sign with a new secret", Rotation, answer=WithSecret),
)
async def rotate(request: ApiRequest, subscription_id: FromPath[str]) -> Answer:
    """Both secrets sign for a while (a day where nothing is said), so that the receiver can change over."""
    body = await read_json(request, Rotation, is_optional=True)
    secrets = secrets_of(request)
    wish = RotateSecret(
        subscription_id=checked_id("subscription", subscription_id),
        previous_until=request.parts.clock.now() + timedelta(seconds=body.overlap_s),
    )
    outcome = await command(request, wish, canonical(body), stream=wish.stream)
    answered = await answer(request, outcome, projections=PROJECTIONS)
    state = await request.parts.commands.state_of(SUBSCRIPTION, outcome.entity_id)
    return with_secret(answered, secrets.shown(outcome.entity_id, state.secret))


@post(
    "/v1/subscriptions/{subscription_id:str}/test",
    opt=on_one("test_subscription", "Send a test event"),
)
async def test(request: ApiRequest, subscription_id: FromPath[str]) -> Answer:
    """`subscription.tested`, whatever the filter says, signed and tried again as any other event."""
    await read_nothing(request)
    return await done(request, TestSubscription(subscription_id=checked_id("subscription", subscription_id)))


@post(
    "/v1/subscriptions/{subscription_id:str}/dead-letters/replay",
    opt=on_one("replay_dead_letters", "Send again what could not be delivered", Replay),
)
async def replay(request: ApiRequest, subscription_id: FromPath[str]) -> Answer:
    """Beside everything else, so out of the order of their executions; delivered, they leave the list."""
    body = await read_json(request, Replay, is_optional=True)
    wish = ReplayDeliveries(
        subscription_id=checked_id("subscription", subscription_id), positions=body.positions
    )
    return await done(request, wish, canonical(body))


ROUTES = (create, revise, remove, pause, resume, rotate, test, replay)


async def done(request: ApiRequest, wish: SubscriptionCommands, body: bytes = b"") -> Answer:
    outcome = await command(request, wish, body, stream=wish.stream)
    return await answer(request, outcome, projections=PROJECTIONS)


def secrets_of(request: ApiRequest) -> Secrets:
    if request.parts.webhook_secrets is None:
        raise Rejected("webhooks are not offered: this installation has no KASAL_WEBHOOK_KEY")
    return request.parts.webhook_secrets


def with_secret(answered: Answer, secret: str) -> Answer:
    """The same answer, with the secret in its body."""
    done = msgspec.json.decode(answered.body, type=Accepted)
    body = msgspec.json.encode(WithSecret(done.id, done.version, done.position, secret=secret))
    return answered.with_body(body)


def checked_url(request: ApiRequest, url: str) -> str:
    request.parts.check_webhook_url(url)
    return url


def checked_filter(wanted: EventFilter) -> EventFilter:
    """With types as they are stored. Raises `Invalid` for one that no event has."""
    types = stored_types(wanted.types)
    if len(types) > MAX_TYPES:
        raise Invalid("too many types", (Fault("/wanted/types", f"expected at most {MAX_TYPES}"),))
    if unknown := unknown_types(types, EVENT_TYPES):
        message = f"there is no type {unknown[0]!r}; expected one of the event catalogue, or execution.*"
        raise Invalid(f"wanted.types: {message}", (Fault("/wanted/types", message),))
    return msgspec.structs.replace(wanted, types=types)
