"""What is so of a webhook now. `evolve` holds no rule."""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum
from typing import assert_never

import msgspec

from domain.event_filter import EventFilter
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


class Standing(StrEnum):
    """Whether events go out."""

    ACTIVE = "ACTIVE"
    PAUSED = "PAUSED"
    DISABLED = "DISABLED"
    DELETED = "DELETED"


class Subscription(msgspec.Struct, frozen=True):
    """What the delivery needs to know.

    standing      None before it is created
    after, since  where it was told to begin, and in which version of its stream
    dead          positions of events that could not be delivered
    """

    standing: Standing | None = None
    url: str = ""
    wanted: EventFilter = EventFilter()
    description: str = ""
    secret: int = 0
    previous_until: datetime | None = None
    after: int = 0
    since: int = 0
    version: int = 0
    dead: frozenset[int] = frozenset()


def evolve(state: Subscription, event: SubscriptionEvents) -> Subscription:
    state = msgspec.structs.replace(state, version=state.version + 1)
    replace = msgspec.structs.replace
    match event:
        case SubscriptionCreated():
            return Subscription(
                standing=Standing.ACTIVE,
                url=event.url,
                wanted=event.wanted,
                description=event.description,
                secret=event.secret,
                after=event.after,
                since=state.version,
                version=state.version,
            )
        case SubscriptionRevised(url=url, wanted=wanted, description=description):
            return replace(state, url=url, wanted=wanted, description=description)
        case SubscriptionPaused():
            return replace(state, standing=Standing.PAUSED)
        case SubscriptionResumed(after=after):
            begin = (state.after, state.since) if after is None else (after, state.version)
            return replace(state, standing=Standing.ACTIVE, after=begin[0], since=begin[1])
        case SubscriptionDeleted():
            return replace(state, standing=Standing.DELETED)
        case SubscriptionDisabled():
            return replace(state, standing=Standing.DISABLED)
        case SecretRotated(secret=secret, previous_until=until):
            return replace(state, secret=secret, previous_until=until)
        case SubscriptionTested() | ReplayRequested():
            return state
        case DeliveryAbandoned(position=position):
            return replace(state, dead=state.dead | {position})
        case DeliveryReplayed(position=position):
            return replace(state, dead=state.dead - {position})
        case _:
            assert_never(event)
