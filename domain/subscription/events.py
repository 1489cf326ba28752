"""What can have happened to a webhook. Tags are stored and never renamed."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, TypeAlias

import msgspec

from domain.event_filter import EventFilter
from domain.message import Event


class SubscriptionCreated(Event, frozen=True, tag="subscription.created"):
    """after: deliveries begin behind this position. secret: the number of the secret that signs."""

    url: str
    after: int
    wanted: EventFilter = EventFilter()
    description: str = ""
    secret: int = 1


class SubscriptionRevised(Event, frozen=True, tag="subscription.revised"):
    """Counts for what is sent from now on, also for what waits to be sent again."""

    url: str
    wanted: EventFilter = EventFilter()
    description: str = ""


class SubscriptionPaused(Event, frozen=True, tag="subscription.paused"):
    """Nothing is sent until it is resumed."""


class SubscriptionResumed(Event, frozen=True, tag="subscription.resumed"):
    """after: go on behind this position; null: where it stopped."""

    after: int | None = None


class SubscriptionDeleted(Event, frozen=True, tag="subscription.deleted"):
    """Nothing more is sent."""


class SubscriptionDisabled(Event, frozen=True, tag="subscription.disabled"):
    """The endpoint said that it is gone, or took nothing for a day. Nothing is lost; it can be resumed."""

    reason: str


class SecretRotated(Event, frozen=True, tag="subscription.secret_rotated"):
    """secret: the number of the one that signs now; previous_until: until then the one before signs too."""

    secret: int
    previous_until: Annotated[datetime, msgspec.Meta(tz=True)]


class SubscriptionTested(Event, frozen=True, tag="subscription.tested"):
    """Sent to the endpoint itself, as a test."""


class DeliveryAbandoned(Event, frozen=True, tag="subscription.delivery_abandoned"):
    """The event at a position was not taken in all the attempts: a dead letter."""

    position: int
    attempts: int
    reason: str


class ReplayRequested(Event, frozen=True, tag="subscription.replay_requested"):
    """Dead letters are to be sent again."""

    positions: tuple[int, ...]


class DeliveryReplayed(Event, frozen=True, tag="subscription.delivery_replayed"):
    """What was a dead letter has been delivered."""

    position: int


SubscriptionEvents: TypeAlias = (
    SubscriptionCreated
    | SubscriptionRevised
    | SubscriptionPaused
    | SubscriptionResumed
    | SubscriptionDeleted
    | SubscriptionDisabled
    | SecretRotated
    | SubscriptionTested
    | DeliveryAbandoned
    | ReplayRequested
    | DeliveryReplayed
)
