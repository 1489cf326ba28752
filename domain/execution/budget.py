"""What an execution has spent and reserved, and what it may.

Used by `state`, which adds up, and `rules.budgets`, which refuses. Its one rule: what was answered counts as
the provider counted it; what is under way counts as much as it can come to.
"""

from __future__ import annotations

from typing import TypeAlias

import msgspec
from msgspec.structs import replace

from domain.amounts import NOTHING, Amounts, nano
from domain.execution.calls import (
    ModelCallCompleted,
    ModelCallFailed,
    ModelCallStarted,
    ToolCallStarted,
)
from domain.execution.events import StepCompleted, StepFailed
from domain.execution.values import Estimate

Booked: TypeAlias = (
    ModelCallStarted | ModelCallCompleted | ModelCallFailed | ToolCallStarted | StepCompleted | StepFailed
)
"""What changes an account."""


class Reservation(msgspec.Struct, frozen=True):
    """What a call under way can come to, and the step that it belongs to."""

    step: str
    amounts: Amounts


class Account(msgspec.Struct, frozen=True):
    """
    spent     as the providers counted, and the calls that were begun
    reserved  by call that is under way, or was lost with its runner and not made again so far
    children  what child executions have spent, as far as it was heard of
    granted   by child that is under way: what it may come to besides
    """

    spent: Amounts = NOTHING
    reserved: dict[str, Reservation] = {}
    children: Amounts = NOTHING
    granted: dict[str, Amounts] = {}

    @property
    def committed(self) -> Amounts:
        """What is spent, by children too, and what can come to it without another call or child."""
        whole = self.own.plus(self.children)
        for grant in self.granted.values():
            whole = whole.plus(grant)
        return whole

    @property
    def own(self) -> Amounts:
        """The part of it that is not of children."""
        whole = self.spent
        for reservation in self.reserved.values():
            whole = whole.plus(reservation.amounts)
        return whole


def reserved_for(estimate: Estimate | None) -> Amounts:
    """Of one call under way, besides the call itself."""
    if estimate is None:
        return NOTHING
    return Amounts(nano_usd=nano(estimate.cost_usd or 0), tokens=estimate.tokens)


def booked(account: Account, event: Booked) -> Account:
    """With what an event spends, reserves or gives back."""
    spent, reserved = account.spent, account.reserved
    match event:
        case ModelCallStarted():
            reservation = Reservation(event.step, reserved_for(event.estimate))
            return replace(
                account,
                spent=spent.plus(Amounts(model_calls=1)),
                reserved={**reserved, event.call: reservation},
            )
        case ToolCallStarted():
            return replace(account, spent=spent.plus(Amounts(tool_calls=1)))
        case ModelCallCompleted():
            tokens = event.prompt_tokens + event.completion_tokens
            paid = Amounts(nano_usd=nano(event.cost_usd), tokens=tokens)
            return replace(account, spent=spent.plus(paid), reserved=without(reserved, event.call))
        case ModelCallFailed():
            return replace(account, reserved=without(reserved, event.call))
        case StepCompleted() | StepFailed():
            rest = {call: each for call, each in reserved.items() if each.step != event.step}
            return replace(account, reserved=rest) if len(rest) < len(reserved) else account


def without(reserved: dict[str, Reservation], call: str) -> dict[str, Reservation]:
    return {each: reservation for each, reservation in reserved.items() if each != call}
