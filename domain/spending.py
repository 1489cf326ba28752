"""What all executions of a workflow spend on one day: no more than the day's limits together.

One stream for each workflow and day. An execution holds a share before it makes a call, and more than it
needs at once, so that not every call asks here. Time is not reserved: what runs is counted up to the moment
of the question. Commands come from the command channel and may come twice. Its one rule: the shares are
within the limits of whoever asks; what is spent is within the shares.
"""

from __future__ import annotations

from datetime import datetime
from typing import TypeAlias, assert_never

import msgspec
from msgspec.structs import replace

from domain.amounts import NOTHING, Amounts, excess
from domain.errors import OverBudget
from domain.limits import DayBudget
from domain.message import Aggregate, Command, Event
from domain.terms import Moment


class Ran(msgspec.Struct, frozen=True, omit_defaults=True):
    """How long an execution was running on the day.

    ms     in all, before it began to run as it does now
    since  when that was, or the day began; None: it does not run
    """

    ms: int = 0
    since: Moment | None = None

    def until(self, at: datetime) -> int:
        """In milliseconds; clocks of several machines may differ a little."""
        if self.since is None:
            return self.ms
        return self.ms + max(0, round((at - self.since).total_seconds() * 1000))


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
    at      now
    ran     on this day; nothing where no limit asks for it
    """

    limits: DayBudget
    base: Amounts
    upto: Amounts
    ahead: Amounts
    at: Moment
    ran: Ran = Ran()


class SettleShare(SpendingCommand, frozen=True, tag="SettleShare"):
    """The execution has ended, or waits, at `upto`: what it holds beyond is free again. ran: on this day."""

    upto: Amounts
    ran: Ran = Ran()


# --- events


class ShareHeld(Event, frozen=True, tag="spending.share_held"):
    """The execution may come to `upto`; on this day it began at `base`.

    ran_before  milliseconds of the day that count elsewhere: it was running before it held this share
    """

    execution_id: str
    base: Amounts
    upto: Amounts
    ran: Ran = Ran()
    ran_before: int = 0


class ShareSettled(Event, frozen=True, tag="spending.share_settled"):
    """used: of this day, by this share. ran_ms: how long it was running under it."""

    execution_id: str
    used: Amounts
    ran_ms: int = 0


SpendingCommands: TypeAlias = HoldShare | SettleShare
SpendingEvents: TypeAlias = ShareHeld | ShareSettled


# --- state


class Share(msgspec.Struct, frozen=True):
    base: Amounts
    upto: Amounts
    ran: Ran = Ran()
    ran_before: int = 0

    @property
    def held(self) -> Amounts:
        return self.upto.minus(self.base)

    def ran_ms(self, ran: Ran, at: datetime) -> int:
        """Of what the execution was running, what counts under this share."""
        return max(0, ran.until(at) - self.ran_before)


class Spending(msgspec.Struct, frozen=True):
    """settled, ran_ms: by shares that are no more. shares: by execution."""

    settled: Amounts = NOTHING
    shares: dict[str, Share] = {}
    ran_ms: int = 0

    def held_by_others(self, execution_id: str) -> Amounts:
        whole = self.settled
        for each, share in self.shares.items():
            whole = whole if each == execution_id else whole.plus(share.held)
        return whole

    def ran_by_others(self, execution_id: str, at: datetime) -> int:
        """Milliseconds until now."""
        others = (share for each, share in self.shares.items() if each != execution_id)
        return self.ran_ms + sum(share.ran_ms(share.ran, at) for share in others)


# --- decide and evolve


def decide(state: Spending, command: SpendingCommands) -> tuple[SpendingEvents, ...]:
    share = state.shares.get(command.execution_id)
    match command:
        case HoldShare():
            return hold(state, command, share)
        case SettleShare(execution_id=execution_id, upto=upto, ran=ran):
            if share is None:
                return ()
            used, ran_ms = upto.minus(share.base), max(0, ran.ms - share.ran_before)
            return (ShareSettled(execution_id=execution_id, used=used, ran_ms=ran_ms),)
        case _:
            assert_never(command)


def hold(state: Spending, command: HoldShare, share: Share | None) -> tuple[SpendingEvents, ...]:
    """Raises `OverBudget`: what is wanted, and what it would come to."""
    known = share or Share(command.base, NOTHING, ran_before=command.ran.ms)
    if why := overtime(state, command, known):
        raise OverBudget(f"per_day, {command.day}: {why}")
    if share and share.upto.covers(command.upto):
        return () if share.ran == command.ran else (held(command, share, share.upto),)
    others = state.held_by_others(command.execution_id)
    for wanted in (command.ahead, command.upto):
        upto = wanted.at_least(known.upto)
        why = excess(command.limits, others.plus(upto.minus(known.base)))
        if why is None:
            return (held(command, known, upto),)
    raise OverBudget(f"per_day, {command.day}: {why}")


def held(command: HoldShare, share: Share, upto: Amounts) -> ShareHeld:
    return ShareHeld(
        execution_id=command.execution_id,
        base=share.base,
        upto=upto,
        ran=command.ran,
        ran_before=share.ran_before,
    )


def overtime(state: Spending, command: HoldShare, share: Share) -> str | None:
    """Why nothing more is begun; None while there is time left."""
    if (limit_s := command.limits.max_running_s) is None:
        return None
    own_ms = share.ran_ms(command.ran, command.at)
    ran_ms = state.ran_by_others(command.execution_id, command.at) + own_ms
    if ran_ms < limit_s * 1000:
        return None
    return f"max_running_s is {limit_s}; its executions were running for {ran_ms / 1000:.15g} s"


def evolve(state: Spending, event: SpendingEvents) -> Spending:
    match event:
        case ShareHeld(execution_id=execution_id):
            share = Share(event.base, event.upto, event.ran, event.ran_before)
            return replace(state, shares={**state.shares, execution_id: share})
        case ShareSettled(execution_id=gone, used=used, ran_ms=ran_ms):
            rest = {each: share for each, share in state.shares.items() if each != gone}
            return Spending(state.settled.plus(used), rest, state.ran_ms + ran_ms)
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
