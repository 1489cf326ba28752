"""What can be wished of a webhook: by people over the API, and by the delivery for what only it learns."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, TypeAlias

import msgspec

from domain.event_filter import EventFilter
from domain.message import Command

WebhookUrl = Annotated[
    str,
    msgspec.Meta(
        max_length=2_000, pattern=r"^https?://[\x21-\x7e]+$", description="Where events are sent to by POST."
    ),
]
Purpose = Annotated[str, msgspec.Meta(max_length=500, description="For people.")]
Position = Annotated[int, msgspec.Meta(ge=0, le=2**63 - 1)]


class SubscriptionCommand(Command, frozen=True):
    subscription_id: str

    @property
    def stream(self) -> str:
        return f"subscription-{self.subscription_id}"


class CreateSubscription(SubscriptionCommand, frozen=True, tag="CreateSubscription"):
    """after: the position behind which deliveries begin."""

    url: WebhookUrl
    after: Position
    wanted: EventFilter = EventFilter()
    description: Purpose = ""


class ReviseSubscription(SubscriptionCommand, frozen=True, tag="ReviseSubscription"):
    url: WebhookUrl
    wanted: EventFilter = EventFilter()
    description: Purpose = ""


class PauseSubscription(SubscriptionCommand, frozen=True, tag="PauseSubscription"):
    """Nothing is sent until it is resumed; nothing is lost meanwhile."""


class ResumeSubscription(SubscriptionCommand, frozen=True, tag="ResumeSubscription"):
    """After a pause, or after it was disabled. after: go on there instead of where it stopped."""

    after: Position | None = None


class DeleteSubscription(SubscriptionCommand, frozen=True, tag="DeleteSubscription"):
    """Nothing more is sent; its history stays."""


class RotateSecret(SubscriptionCommand, frozen=True, tag="RotateSecret"):
    """The next secret signs from now on; the one before signs too, until a time."""

    previous_until: Annotated[datetime, msgspec.Meta(tz=True)]


class TestSubscription(SubscriptionCommand, frozen=True, tag="TestSubscription"):
    """Send a test event, whatever the filter says."""

    __test__ = False


class DisableSubscription(SubscriptionCommand, frozen=True, tag="DisableSubscription"):
    """The delivery's wish: there is no point in sending any more."""

    reason: str


class AbandonDelivery(SubscriptionCommand, frozen=True, tag="AbandonDelivery"):
    """The delivery's report: an event could not be delivered in the time that there is for it."""

    position: int
    attempts: int
    reason: str


class ReplayDeliveries(SubscriptionCommand, frozen=True, tag="ReplayDeliveries"):
    """Try again what was abandoned. positions: () for all."""

    positions: tuple[Position, ...] = ()


class ConfirmReplay(SubscriptionCommand, frozen=True, tag="ConfirmReplay"):
    """The delivery's report: what was abandoned is delivered now."""

    position: int


SubscriptionCommands: TypeAlias = (
    CreateSubscription
    | ReviseSubscription
    | PauseSubscription
    | ResumeSubscription
    | DeleteSubscription
    | RotateSecret
    | TestSubscription
    | DisableSubscription
    | AbandonDelivery
    | ReplayDeliveries
    | ConfirmReplay
)
