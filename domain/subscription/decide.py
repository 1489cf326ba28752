"""The rules of a webhook."""

from __future__ import annotations

from typing import assert_never

from domain.errors import Invalid, NotFound, Rejected
from domain.subscription.commands import (
    AbandonDelivery,
    ConfirmReplay,
    CreateSubscription,
    DeleteSubscription,
    DisableSubscription,
    PauseSubscription,
    ReplayDeliveries,
    ResumeSubscription,
    ReviseSubscription,
    RotateSecret,
    SubscriptionCommands,
    TestSubscription,
)
from domain.subscription.events import (
    DeliveryAbandoned,
    DeliveryReplayed,
    ReplayRequested,
    SecretRotated,
    SubscriptionCreated,
    SubscriptionDeleted,
    SubscriptionDisabled,
    SubscriptionEvents,
    SubscriptionPaused,
    SubscriptionResumed,
    SubscriptionRevised,
    SubscriptionTested,
)
from domain.subscription.state import Standing, Subscription

MAX_DEAD_LETTERS = 10_000
"""One more that can not be delivered, and the subscription is disabled instead of forgetting any."""


def decide(state: Subscription, command: SubscriptionCommands) -> tuple[SubscriptionEvents, ...]:
    if isinstance(command, CreateSubscription):
        if state.standing is not None:
            raise Rejected(f"CreateSubscription is not allowed: {command.subscription_id!r} exists already")
        return (
            SubscriptionCreated(
                url=command.url, after=command.after, wanted=command.wanted, description=command.description
            ),
        )
    if state.standing in (None, Standing.DELETED):
        raise NotFound(f"there is no subscription {command.subscription_id!r}")
    match command:
        case ReviseSubscription():
            wish = (command.url, command.wanted, command.description)
            is_so = wish == (state.url, state.wanted, state.description)
            url, wanted, description = wish
            return () if is_so else (SubscriptionRevised(url=url, wanted=wanted, description=description),)
        case PauseSubscription():
            check(command, state, Standing.ACTIVE, Standing.PAUSED)
            return () if state.standing is Standing.PAUSED else (SubscriptionPaused(),)
        case ResumeSubscription():
            is_so = state.standing is Standing.ACTIVE and command.after is None
            return () if is_so else (SubscriptionResumed(after=command.after),)
        case DeleteSubscription():
            return (SubscriptionDeleted(),)
        case RotateSecret():
            return (SecretRotated(secret=state.secret + 1, previous_until=command.previous_until),)
        case TestSubscription():
            check(command, state, Standing.ACTIVE)
            return (SubscriptionTested(),)
        case DisableSubscription():
            is_so = state.standing is Standing.DISABLED
            return () if is_so else (SubscriptionDisabled(reason=command.reason),)
        case AbandonDelivery():
            return abandoned(state, command)
        case ReplayDeliveries():
            check(command, state, Standing.ACTIVE)
            return replayed(state, command)
        case ConfirmReplay():
            is_dead = command.position in state.dead
            return (DeliveryReplayed(position=command.position),) if is_dead else ()
        case _:
            assert_never(command)


def check(command: SubscriptionCommands, state: Subscription, *allowed: Standing) -> None:
    if state.standing not in allowed:
        standing = str(state.standing).lower()
        raise Rejected(f"{type(command).__name__} is not allowed while {standing}")


def abandoned(state: Subscription, command: AbandonDelivery) -> tuple[SubscriptionEvents, ...]:
    if command.position in state.dead:
        return ()
    if len(state.dead) >= MAX_DEAD_LETTERS:
        return (SubscriptionDisabled(reason=f"it has {MAX_DEAD_LETTERS} dead letters"),)
    return (DeliveryAbandoned(position=command.position, attempts=command.attempts, reason=command.reason),)


def replayed(state: Subscription, command: ReplayDeliveries) -> tuple[SubscriptionEvents, ...]:
    positions = command.positions or tuple(sorted(state.dead))
    for position in positions:
        if position not in state.dead:
            raise Invalid(f"positions: {position} is no dead letter of this subscription")
    return (ReplayRequested(positions=tuple(sorted(set(positions)))),) if positions else ()
