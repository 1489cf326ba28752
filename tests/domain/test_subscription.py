"""The rules of webhooks."""

from __future__ import annotations

from datetime import UTC, datetime
from importlib import import_module

import pytest

from domain.errors import Invalid, NotFound, Rejected
from domain.event_filter import EventFilter
from domain.subscription import (
    SUBSCRIPTION,
    AbandonDelivery,
    ConfirmReplay,
    CreateSubscription,
    DeleteSubscription,
    DeliveryAbandoned,
    DeliveryReplayed,
    DisableSubscription,
    PauseSubscription,
    ReplayDeliveries,
    ReplayRequested,
    ResumeSubscription,
    ReviseSubscription,
    RotateSecret,
    SecretRotated,
    Standing,
    SubscriptionCreated,
    SubscriptionDeleted,
    SubscriptionDisabled,
    SubscriptionPaused,
    SubscriptionResumed,
    SubscriptionRevised,
    SubscriptionTested,
    TestSubscription,
)
from domain.subscription.commands import SubscriptionCommand
from tests.domain.spec import Spec

spec = Spec(SUBSCRIPTION)
URL = "https://example.com/hook"
created = SubscriptionCreated(url=URL, after=7)
dead = DeliveryAbandoned(position=9, attempts=11, reason="answered 500")


def test_it_is_created_once_with_its_first_secret() -> None:
    command = CreateSubscription(subscription_id="s", url=URL, after=7)
    spec.when(command).then(created)
    assert created.secret == 1
    spec.given(created).when(command).then_refused(Rejected, "exists already")


def test_it_is_revised_where_something_changes() -> None:
    wanted = EventFilter(types=("execution.*",))
    same = ReviseSubscription(subscription_id="s", url=URL)
    other = ReviseSubscription(subscription_id="s", url=URL, wanted=wanted)
    spec.given(created).when(same).then_nothing()
    spec.given(created).when(other).then(SubscriptionRevised(url=URL, wanted=wanted))


def test_it_is_paused_and_goes_on_where_it_stopped_or_elsewhere() -> None:
    paused = spec.given(created, SubscriptionPaused())
    paused.when(PauseSubscription(subscription_id="s")).then_nothing()
    paused.when(ResumeSubscription(subscription_id="s")).then(SubscriptionResumed())
    paused.when(ResumeSubscription(subscription_id="s", after=0)).then(SubscriptionResumed(after=0))
    spec.given(created).when(ResumeSubscription(subscription_id="s")).then_nothing()


def test_where_it_begins_is_known_by_the_version_that_said_so() -> None:
    state = spec.given(created, SubscriptionPaused(), SubscriptionResumed()).state()
    assert (state.after, state.since) == (7, 1)
    state = spec.given(created, SubscriptionPaused(), SubscriptionResumed(after=3)).state()
    assert (state.after, state.since, state.standing) == (3, 3, Standing.ACTIVE)


def test_disabled_it_can_be_resumed_and_not_tested() -> None:
    disabled = spec.given(created, SubscriptionDisabled(reason="gone"))
    disabled.when(DisableSubscription(subscription_id="s", reason="again")).then_nothing()
    disabled.when(TestSubscription(subscription_id="s")).then_refused(Rejected, "while disabled")
    disabled.when(PauseSubscription(subscription_id="s")).then_refused(Rejected, "while disabled")
    disabled.when(ResumeSubscription(subscription_id="s")).then(SubscriptionResumed())
    spec.given(created).when(TestSubscription(subscription_id="s")).then(SubscriptionTested())


def test_each_rotation_takes_the_next_number() -> None:
    until = datetime(2026, 1, 1, tzinfo=UTC)
    command = RotateSecret(subscription_id="s", previous_until=until)
    second = SecretRotated(secret=2, previous_until=until)
    spec.given(created).when(command).then(second)
    spec.given(created, second).when(command).then(SecretRotated(secret=3, previous_until=until))


def test_a_dead_letter_is_recorded_once_until_it_is_delivered() -> None:
    command = AbandonDelivery(subscription_id="s", position=9, attempts=11, reason="answered 500")
    spec.given(created).when(command).then(dead)
    spec.given(created, dead).when(command).then_nothing()
    spec.given(created, dead, DeliveryReplayed(position=9)).when(command).then(dead)


def test_replays_name_dead_letters_or_mean_all() -> None:
    other = DeliveryAbandoned(position=3, attempts=1, reason="x")
    letters = spec.given(created, dead, other)
    letters.when(ReplayDeliveries(subscription_id="s")).then(ReplayRequested(positions=(3, 9)))
    letters.when(ReplayDeliveries(subscription_id="s", positions=(9, 9))).then(
        ReplayRequested(positions=(9,))
    )
    letters.when(ReplayDeliveries(subscription_id="s", positions=(4,))).then_refused(Invalid, "positions: 4")
    spec.given(created).when(ReplayDeliveries(subscription_id="s")).then_nothing()
    letters.when(ConfirmReplay(subscription_id="s", position=9)).then(DeliveryReplayed(position=9))
    spec.given(created).when(ConfirmReplay(subscription_id="s", position=9)).then_nothing()


def test_too_many_dead_letters_disable_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(import_module("domain.subscription.decide"), "MAX_DEAD_LETTERS", 1)
    command = AbandonDelivery(subscription_id="s", position=10, attempts=11, reason="answered 500")
    (event,) = spec.given(created, dead).when(command).decided()
    assert isinstance(event, SubscriptionDisabled)


@pytest.mark.parametrize(
    "command",
    [
        ReviseSubscription(subscription_id="s", url=URL),
        PauseSubscription(subscription_id="s"),
        ResumeSubscription(subscription_id="s"),
        DeleteSubscription(subscription_id="s"),
        TestSubscription(subscription_id="s"),
        ReplayDeliveries(subscription_id="s"),
        AbandonDelivery(subscription_id="s", position=1, attempts=1, reason="x"),
    ],
)
def test_what_is_not_there_or_deleted_is_not_found(command: SubscriptionCommand) -> None:
    spec.when(command).then_refused(NotFound, "'s'")
    spec.given(created, SubscriptionDeleted()).when(command).then_refused(NotFound, "'s'")
