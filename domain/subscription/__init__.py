"""A webhook: to which URL which events go, whether they go now, and what could not be delivered.

Commands come from the API and, for what only the delivery learns, from it. Its one rule: no secret stands in
an event; an event names a secret by its number, from which whoever has the installation's key derives it.
"""

from typing import get_args

from domain.message import Aggregate
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
    WebhookUrl,
)
from domain.subscription.decide import decide
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
from domain.subscription.state import Standing, Subscription, evolve

SUBSCRIPTION = Aggregate(
    category="subscription",
    initial=Subscription(),
    decide=decide,
    evolve=evolve,
    commands=get_args(SubscriptionCommands),
    events=get_args(SubscriptionEvents),
)

__all__ = [
    "SUBSCRIPTION",
    "AbandonDelivery",
    "ConfirmReplay",
    "CreateSubscription",
    "DeleteSubscription",
    "DeliveryAbandoned",
    "DeliveryReplayed",
    "DisableSubscription",
    "PauseSubscription",
    "ReplayDeliveries",
    "ReplayRequested",
    "ResumeSubscription",
    "ReviseSubscription",
    "RotateSecret",
    "SecretRotated",
    "Standing",
    "Subscription",
    "SubscriptionCommands",
    "SubscriptionCreated",
    "SubscriptionDeleted",
    "SubscriptionDisabled",
    "SubscriptionEvents",
    "SubscriptionPaused",
    "SubscriptionResumed",
    "SubscriptionRevised",
    "SubscriptionTested",
    "TestSubscription",
    "WebhookUrl",
    "evolve",
]
