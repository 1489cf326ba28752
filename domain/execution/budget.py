"""What an execution has spent and reserved, and what it may.

Used by `state` (which adds up) and `rules.budgets` (which refuses). Money is counted in whole nano-dollars,
so that sums are exact. Its one rule: what was answered counts as the provider counted it; what is under way
counts as much as it can come to.
"""

from __future__ import annotations

import math
from typing import TypeAlias

import msgspec

from domain.execution.calls import (
    ModelCallCompleted,
    ModelCallFailed,
    ModelCallStarted,
    ToolCallStarted,
)
from domain.execution.events import StepCompleted, StepFailed
from domain.execution.values import Estimate
from domain.limits import Budget

NANO = 1_000_000_000

Booked: TypeAlias = (
    ModelCallStarted | ModelCallCompleted | ModelCallFailed | ToolCallStarted | StepCompleted | StepFailed
)
"""What changes an account."""


class Amounts(msgspec.Struct, frozen=True, omit_defaults=True):
    """Of money, tokens and calls; model and tool calls are counted when they begin."""

    nano_usd: int = 0
    tokens: int = 0
    model_calls: int = 0
    tool_calls: int = 0

    def plus(self, other: Amounts) -> Amounts:
        return Amounts(
            self.nano_usd + other.nano_usd,
            self.tokens + other.tokens,
            self.model_calls + other.model_calls,
            self.tool_calls + other.tool_calls,
        )


NOTHING = Amounts()


class Reservation(msgspec.Struct, frozen=True):
    """What a call under way can come to, and the step that it belongs to."""

    step: str
    amounts: Amounts


class Account(msgspec.Struct, frozen=True):
    """spent: as the providers counted, and the calls that were begun; reserved: by call that is under way, or
    was lost with its runner and not made again so far."""

    spent: Amounts = NOTHING
    reserved: dict[str, Reservation] = {}

    @property
    def committed(self) -> Amounts:
        """What is spent, and what can come to it without another call."""
        whole = self.spent
        for reservation in self.reserved.values():
            whole = whole.plus(reservation.amounts)
        return whole


def nano(cost_usd: float) -> int:
    """Rounded up: what is spent is never counted as less."""
    return math.ceil(round(cost_usd * NANO, 3))


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
            return Account(spent.plus(Amounts(model_calls=1)), {**reserved, event.call: reservation})
        case ToolCallStarted():
            return Account(spent.plus(Amounts(tool_calls=1)), reserved)
        case ModelCallCompleted():
            tokens = event.prompt_tokens + event.completion_tokens
            paid = Amounts(nano_usd=nano(event.cost_usd), tokens=tokens)
            return Account(spent.plus(paid), without(reserved, event.call))
        case ModelCallFailed():
            return Account(spent, without(reserved, event.call))
        case StepCompleted() | StepFailed():
            rest = {call: each for call, each in reserved.items() if each.step != event.step}
            return Account(spent, rest) if len(rest) < len(reserved) else account


def without(reserved: dict[str, Reservation], call: str) -> dict[str, Reservation]:
    return {each: reservation for each, reservation in reserved.items() if each != call}


def excess(limits: Budget, amounts: Amounts) -> str | None:
    """The first limit that the amounts are beyond, in words; None when they are within all."""
    bounds = (
        ("budget_usd", limits.budget_usd, amounts.nano_usd / NANO, amounts.nano_usd),
        ("max_tokens", limits.max_tokens, amounts.tokens, amounts.tokens),
        ("max_model_calls", limits.max_model_calls, amounts.model_calls, amounts.model_calls),
        ("max_tool_calls", limits.max_tool_calls, amounts.tool_calls, amounts.tool_calls),
    )
    for name, limit, shown, exact in bounds:
        if limit is None:
            continue
        if exact > (nano(limit) if name == "budget_usd" else limit):
            return f"{name} is {limit:g}; with this call it would come to {shown:g}"
    return None
