"""What all executions of a workflow spend on one day: no more than the day's limits together.

One stream for each workflow and day. An execution holds a share before it makes a call, and more than it
needs at once, so that not every call asks here. Commands come from the command channel and may come twice.
Its one rule: the shares are within the limits of whoever asks; what is spent is within the shares.
"""

from __future__ import annotations

from typing import TypeAlias, assert_never

import msgspec
from msgspec.structs import replace

from domain.amounts import NOTHING, Amounts, excess
from domain.errors import OverBudget
from domain.limits import Budget
from domain.message import Aggregate, Command, Event

# --- commands


class SpendingCommand(Command, frozen=True):
    """day: in UTC, as 2026-11-24."""

    workflow_id: str
    day: str
    execution_id: str

    @property
    def stream(self) -> str:
        return f"spending-{self.workflow_id}_{self.day}"


class HoldShare(SpendingCommand, frozen=True, tag="HoldShare"):
    """The execution is about to come to `upto`, counted from its beginning.

    limits  of the day, in its document
    base    what it had spent before this day; counts when it holds no share yet
    ahead   what it would come to with some more calls; held where there is room
    """

    limits: Budget
    base: Amounts
    upto: Amounts
    ahead: Amounts


class SettleShare(SpendingCommand, frozen=True, tag="SettleShare"):
    """The execution has ended, or waits, at `upto`: what it holds beyond is free again."""

    upto: Amounts


# --- events


class ShareHeld(Event, frozen=True, tag="spending.share_held"):
    """The execution may come to `upto`; on this day it began at `base`."""

    execution_id: str
    base: Amounts
    upto: Amounts


class ShareSettled(Event, frozen=True, tag="spending.share_settled"):
    """used: of this day, by this share."""

    execution_id: str
    used: Amounts


SpendingCommands: TypeAlias = HoldShare | SettleShare
SpendingEvents: TypeAlias = ShareHeld | ShareSettled


# --- state


class Share(msgspec.Struct, frozen=True):
    base: Amounts
    upto: Amounts

    @property
    def held(self) -> Amounts:
        return self.upto.minus(self.base)


class Spending(msgspec.Struct, frozen=True):
    """settled: by shares that are no more. shares: by execution."""

    settled: Amounts = NOTHING
    shares: dict[str, Share] = {}

    def held_by_others(self, execution_id: str) -> Amounts:
        whole = self.settled
        for each, share in self.shares.items():
            whole = whole if each == execution_id else whole.plus(share.held)
        return whole


# --- decide and evolve


def decide(state: Spending, command: SpendingCommands) -> tuple[SpendingEvents, ...]:
    share = state.shares.get(command.execution_id)
    match command:
        case HoldShare():
            return hold(state, command, share)
        case SettleShare(execution_id=execution_id, upto=upto):
            used = upto.minus(share.base) if share else NOTHING
            return (ShareSettled(execution_id=execution_id, used=used),) if share else ()
        case _:
            assert_never(command)


def hold(state: Spending, command: HoldShare, share: Share | None) -> tuple[SpendingEvents, ...]:
    """Raises `OverBudget`: what is wanted, and what it would come to."""
    if share and share.upto.covers(command.upto):
        return ()
    base, least = (share.base, share.upto) if share else (command.base, NOTHING)
    others = state.held_by_others(command.execution_id)
    for wanted in (command.ahead, command.upto):
        upto = wanted.at_least(least)
        if excess(command.limits, others.plus(upto.minus(base))) is None:
            return (ShareHeld(execution_id=command.execution_id, base=base, upto=upto),)
    why = excess(command.limits, others.plus(command.upto.at_least(least).minus(base)))
    raise OverBudget(f"per_day, {command.day}: {why}")


def evolve(state: Spending, event: SpendingEvents) -> Spending:
    match event:
        case ShareHeld(execution_id=execution_id, base=base, upto=upto):
            return replace(state, shares={**state.shares, execution_id: Share(base, upto)})
        case ShareSettled(execution_id=gone, used=used):
            rest = {each: share for each, share in state.shares.items() if each != gone}
            return Spending(state.settled.plus(used), rest)
        case _:
            assert_never(event)


SPENDING = Aggregate(
    category="spending",
    initial=Spending(),
    decide=decide,
    evolve=evolve,
    commands=(HoldShare, SettleShare),
    events=(ShareHeld, ShareSettled),
)
